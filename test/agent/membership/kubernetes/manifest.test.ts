import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {parseConfig} from '../../../../agent/config.ts';
import {parseYaml} from '../../../../agent/membership/kubernetes/yaml.ts';
import {parseStaticNetwork} from '../../../../lib/overlay/static-file.ts';

const conf = path.resolve(import.meta.dirname, '../../../../conf');
const read = (name: string) => readFileSync(path.join(conf, name), 'utf8');

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {readonly name: string; readonly namespace?: string};
  readonly data: Readonly<Record<string, string>>;
  readonly rules: unknown;
  readonly roleRef: unknown;
  readonly subjects: unknown;
  readonly spec: {
    readonly selector: {readonly matchLabels: unknown};
    readonly template: {
      readonly metadata: {readonly labels: unknown};
      readonly spec: Pod;
    };
  };
}

interface Pod {
  readonly serviceAccountName: string;
  readonly hostNetwork: boolean;
  readonly hostPID: boolean;
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly {readonly name: string; readonly configMap?: {readonly name: string}}[];
}

interface Container {
  readonly image: string;
  readonly command: readonly string[];
  readonly volumeMounts: readonly {readonly name: string; readonly mountPath: string}[];
  readonly securityContext?: unknown;
  readonly livenessProbe?: {readonly httpGet: {readonly port: number; readonly path: string}};
}

const documents = parseYaml(read('kubernetes/weft-agent.yaml')) as unknown as readonly Manifest[];
const find = (kind: string) => documents.find((each) => each.kind === kind)!;

test('the manifest has what a node agent needs, and no more rights', (t) => {
  t.deepEqual(
    documents.map(({kind, metadata}) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`),
    [
      'ServiceAccount kube-system/weft-agent',
      'ClusterRole /weft-agent',
      'ClusterRoleBinding /weft-agent',
      'ConfigMap kube-system/weft-agent',
      'DaemonSet kube-system/weft-agent',
    ],
  );
  t.deepEqual(find('ClusterRole').rules, [
    {apiGroups: [''], resources: ['nodes'], verbs: ['list', 'watch']},
    {apiGroups: [''], resources: ['nodes/status'], verbs: ['patch']},
  ]);
  t.like(find('ClusterRoleBinding'), {
    roleRef: {apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'weft-agent'},
    subjects: [{kind: 'ServiceAccount', name: 'weft-agent', namespace: 'kube-system'}],
  });
});

test('what it refers to is there', (t) => {
  const {selector, template} = find('DaemonSet').spec;
  t.deepEqual(template.metadata.labels, selector.matchLabels);
  const pod = template.spec;
  t.is(pod.serviceAccountName, find('ServiceAccount').metadata.name);
  t.true(pod.hostNetwork && pod.hostPID);
  const volumes = pod.volumes.map(({name}) => name);
  for (const {volumeMounts, image} of [...pod.initContainers, ...pod.containers]) {
    for (const {name} of volumeMounts) t.true(volumes.includes(name), name);
    t.is(image, pod.containers[0]!.image);
  }
  t.is(pod.volumes.find(({name}) => name === 'config')?.configMap?.name, find('ConfigMap').metadata.name);
  t.deepEqual(pod.containers[0]!.securityContext, {privileged: true});
});

test('its configuration is one that the agent takes, and its scripts are ones that a shell takes', (t) => {
  const {data} = find('ConfigMap');
  const config = parseConfig(data['agent.json'] ?? '');
  t.is(config.overlay?.networks[0]?.membership.type, 'kubernetes');
  const {containers, initContainers} = find('DaemonSet').spec.template.spec;
  t.is(config.http.listen, `127.0.0.1:${containers[0]!.livenessProbe!.httpGet.port}`);
  const conflist = JSON.parse(data['10-weft.conflist'] ?? '') as {name: string; plugins: {type: string}[]};
  // By its name the plugin finds what the agent says of the network.
  t.is(config.overlay?.networks[0]?.name, conflist.name);
  t.is(conflist.plugins[0]?.type, 'vxlan');
  for (const {command} of [...containers, ...initContainers]) {
    const [shell, , script] = command;
    t.is(spawnSync(shell ?? '', ['-n', '-c', script ?? '']).status, 0, script);
  }
});

test('the shell of the manifest passes signals on and ends as the agent does', (t) => {
  const script = find('DaemonSet').spec.template.spec.containers[0]!.command.at(-1)!;
  // The agent's part is played by a shell that says what it was given.
  const stand = script.replace(
    /nsenter .*agent --config (\S+) &/,
    `sh -c 'echo "$WEFT_SERVICE_ACCOUNT_DIR $0"; trap "echo reloaded" HUP; trap "exit 7" TERM; while :; do sleep 0.1; done' $1 &`,
  );
  t.not(stand, script);
  const driver = `sh -ec "$0" & shell=$!; sleep 0.5; kill -HUP $shell; sleep 0.5; kill -TERM $shell; wait $shell`;
  const {status, stdout} = spawnSync('sh', ['-c', driver, stand], {encoding: 'utf8'});
  t.is(status, 7);
  t.regex(
    stdout,
    /^\/proc\/\d+\/root\/var\/run\/secrets\S+ \/proc\/\d+\/root\/etc\/weft\/agent\.json\nreloaded\n$/,
  );
});

test('the example of a static membership', (t) => {
  const {members, network} = parseStaticNetwork(read('overlay/static.json'), {
    name: 'pods',
    source: 'static.json',
  });
  t.is(members.length, 2);
  t.is(network.ranges.length, 2);
});
