import test from 'ava';
import {ConfigError, parseConfig, readConfig} from '../../agent/config.ts';

test('an empty file means the defaults', (t) => {
  t.deepEqual(parseConfig('{}'), {
    logLevel: 'info',
    runDir: '/run/weft',
    http: {},
    cni: {enabled: true, maxCalls: 1024},
  });
});

test('keys match in any case, and null leaves the default', (t) => {
  t.like(parseConfig('{"LogLevel": "debug", "rundir": null}'), {logLevel: 'debug', runDir: '/run/weft'});
});

const network = (name: string, more: object = {}) => ({
  name,
  subnetFile: `/run/flannel/${name}.env`,
  membership: {type: 'static', file: '/a'},
  ...more,
});
const overlay = (...networks: object[]) => JSON.stringify({overlay: {networks}});
const secrets = (...ids: number[]) => ids.map((id) => ({id, file: '/b'}));

test('networks of a host that share nothing', (t) => {
  const two = overlay(
    network('a', {encryption: {secrets: secrets(0, 1)}}),
    network('b', {encryption: {secrets: secrets(0, 1), port: 51_880}}),
  );
  t.is(parseConfig(two).overlay?.networks.length, 2);
});

for (const [text, message] of [
  [
    overlay(network('a'), network('a', {subnetFile: '/c'})),
    /"overlay\.networks": a and a have the name a; give each/,
  ],
  [
    overlay(network('a'), network('b', {subnetFile: '/run/flannel/a.env'})),
    /"overlay\.networks": a and b have the subnetFile \/run\/flannel\/a\.env; give each its own/,
  ],
  [
    overlay(
      network('a', {encryption: {secrets: secrets(1)}}),
      network('b', {encryption: {secrets: secrets(0), port: 51_873}}),
    ),
    /a and b have the UDP port 51873 for encryption; give one another "encryption\.port"/,
  ],
  ['', 'agent.json is not JSON: Unexpected end of JSON input'],
  ['[]', 'agent.json: expected an object'],
  ['null', 'agent.json: expected an object'],
  [
    '{"logLevel": "loud"}',
    'agent.json: "logLevel": expected one of "fatal", "error", "warn", "info", "debug", "trace", "silent", found "loud"',
  ],
  ['{"loglevl": "info"}', 'agent.json: unknown key "loglevl"; is "logLevel" meant?'],
  ['{"nonsense": 1}', 'agent.json: unknown key "nonsense"'],
  ['{"cni": {"sockt": "/x"}}', 'agent.json: unknown key "cni.sockt"; is "socket" meant?'],
  ['{"cni": {"maxCalls": 0}}', 'agent.json: "cni.maxCalls": expected at least 1, found 0'],
  ['{"cni": {"maxCalls": 1.5}}', 'agent.json: "cni.maxCalls": expected a whole number, found 1.5'],
  ['{"runDir": "run"}', 'agent.json: "runDir": expected a path that begins with "/", found "run"'],
  [
    '{"http": {"listen": "localhost:1"}}',
    /^agent\.json: "http\.listen": expected an address and a port, such as .*, found "localhost:1"$/,
  ],
  ['{"http": {"listen": "127.0.0.1:65536"}}', /found "127\.0\.0\.1:65536"$/],
] as const) {
  test(`refused: ${text}`, (t) => {
    t.throws(() => parseConfig(text, 'agent.json'), {instanceOf: ConfigError, message});
  });
}

for (const listen of ['127.0.0.1:9470', '[::1]:9470', '0.0.0.0:0', '[::]:65535']) {
  test(`an address to listen on: ${listen}`, (t) => {
    t.is(parseConfig(JSON.stringify({http: {listen}})).http.listen, listen);
  });
}

test('a file that is not there is named', (t) => {
  t.throws(() => readConfig('/nonexistent/agent.json'), {
    instanceOf: ConfigError,
    message: /^cannot read \/nonexistent\/agent\.json: ENOENT/,
  });
});
