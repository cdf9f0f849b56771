import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {findAccess} from '../../../../agent/membership/kubernetes/access.ts';

function directory(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'weft-access-'));
  t.teardown(() => rmSync(made, {recursive: true, force: true}));
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(made, name), content);
  return made;
}

test('in a pod: the address from the environment, the rest from the service account', (t) => {
  const serviceAccountDir = directory(t, {token: 'one\n', 'ca.crt': 'CA'});
  const env = {KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443'};
  const access = findAccess({serviceAccountDir}, env);
  t.is(access.server.href, 'https://10.96.0.1/');
  t.deepEqual(access.tls(), {ca: 'CA'});
  t.is(access.token(), 'one');
  writeFileSync(path.join(serviceAccountDir, 'token'), 'two');
  t.is(access.token(), 'two');
  t.is(
    findAccess({serviceAccountDir}, {KUBERNETES_SERVICE_HOST: 'fd00::1'}).server.href,
    'https://[fd00::1]/',
  );
  t.is(findAccess({serviceAccountDir, server: 'https://api:6443'}, {}).server.href, 'https://api:6443/');
  const moved = findAccess({}, {KUBERNETES_SERVICE_HOST: 'x', WEFT_SERVICE_ACCOUNT_DIR: serviceAccountDir});
  t.is(moved.token(), 'two');
  t.throws(() => findAccess({serviceAccountDir}, {}), {
    message: /KUBERNETES_SERVICE_HOST is not set.*"kubeconfig"/,
  });
});

const kubeconfig = (user: string) => `apiVersion: v1
kind: Config
current-context: here
contexts:
- name: here
  context: {"cluster": "c", "user": "u"}
clusters:
- name: other
  cluster: {"server": "https://other:6443"}
- name: c
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority: ca.pem
    tls-server-name: kubernetes
users:
- name: u
  user:
${user}
`;

test('a kubeconfig: files relative to it, data within it', (t) => {
  const files = directory(t, {
    'ca.pem': 'CA',
    'key.pem': 'KEY',
    token: 'one\n',
    byCert: kubeconfig('    client-certificate-data: Q0VSVA==\n    client-key: key.pem'),
    byToken: kubeconfig('    token: secret'),
    byFile: kubeconfig('    tokenFile: token'),
    byJson: JSON.stringify({
      'current-context': 'x',
      contexts: [{name: 'x', context: {cluster: 'x', user: 'x'}}],
      clusters: [{name: 'x', cluster: {server: 'https://x', 'insecure-skip-tls-verify': true}}],
      users: [{name: 'x', user: {token: 'of json'}}],
    }),
  });
  const access = (name: string) =>
    findAccess({kubeconfig: path.join(files, name), serviceAccountDir: '/'}, {});
  t.is(access('byCert').server.href, 'https://10.0.0.1:6443/');
  t.deepEqual(access('byCert').tls(), {ca: 'CA', cert: 'CERT', key: 'KEY', servername: 'kubernetes'});
  t.is(access('byCert').token(), undefined);
  t.is(access('byToken').token(), 'secret');
  t.is(access('byFile').token(), 'one');
  t.is(access('byJson').token(), 'of json');
  t.is(access('byJson').tls().rejectUnauthorized, false);
});

const refused = [
  [kubeconfig('    exec: {"command": "aws"}'), /users: "exec" is not supported; give a token/],
  [
    kubeconfig('    token: x').replace('current-context: here', 'current-context: there'),
    /contexts: none is named "there"/,
  ],
  [
    kubeconfig('    token: x').replace('server: https://10.0.0.1:6443', 'server: nowhere'),
    /"server" is "nowhere", not a URL/,
  ],
  ['a: [x', /cannot be read: line 1/],
] as const;

for (const [content, message] of refused)
  test(`refused: ${message.source}`, (t) => {
    const kubeconfig = path.join(directory(t, {conf: content}), 'conf');
    t.throws(() => findAccess({kubeconfig, serviceAccountDir: '/'}, {}), {message});
  });
