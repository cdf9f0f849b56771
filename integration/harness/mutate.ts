import type {Random} from './random.ts';

/** By how often each is called: the more there is to go wrong, the more often. */
const fuzzedPlugins = [
  ...(['bridge', 'bridge', 'bridge', 'bridge', 'bridge', 'host-local', 'host-local', 'ptp', 'ptp'] as const),
  ...(['loopback', 'static', 'tuning', 'tuning', 'sbr', 'vxlan', 'vxlan'] as const),
];
type FuzzedPlugin = (typeof fuzzedPlugins)[number];

/** One call to put to a plugin: which, with what environment and what on stdin. */
export interface FuzzCase {
  readonly plugin: FuzzedPlugin;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

type Value = null | boolean | number | string | Value[] | {[key: string]: Value};

const versions = ['', '0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

// Directories are all below /run: an accepted one is written to.
const oddStrings = [
  '',
  ' ',
  'x',
  'cni0',
  'lo',
  'eth0',
  '..',
  'a/b',
  'a\\b',
  '/run/fuzz-a',
  '/dev/null',
  '/proc/self/ns/mnt',
  'ü',
  '\u0000',
  '\n',
  '💥',
  'x'.repeat(16),
  'x'.repeat(5000),
  '10.1.2.3',
  '10.1.2.0/24',
  '10.1.2.3/99',
  '010.1.2.3',
  '::ffff:10.1.2.3',
  'fe80::1%eth0',
  '2001:db8::/64',
  '0.0.0.0/0',
  '255.255.255.255',
  'aa:bb:cc:dd:ee:ff',
  '01:00:00:00:00:00',
  '99.99.99',
  'true',
  'null',
  '1e3',
  '-1',
  '__proto__',
  'constructor',
  'host-local',
  'bridge',
  '../bridge',
  'iptables',
  'nftables',
] as const;
const oddArgs = [
  'MAC=02:00:00:00:00:09',
  'IP=10.77.0.7',
  'IP=10.77.0.7/24;IgnoreUnknown=1',
  'A=B',
  'A',
  ';',
  '=',
  'IP=',
  'IP=x',
  'IgnoreUnknown=true;K8S_POD_NAME=a',
  'GATEWAY=10.77.0.1',
  'IgnoreUnknown=1;IP=10.77.0.1',
];
const oddNumbers = [0, -1, 1, 1.5, 4094, 4095, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 31), 1e300];

function baseConf(random: Random): {[key: string]: Value} {
  const subnets = random.pick([
    [[{subnet: '10.77.0.0/24'}]],
    [[{subnet: '10.77.0.0/24'}], [{subnet: '2001:db8:77::/64'}]],
    [[{subnet: '10.77.0.0/30'}, {subnet: '10.77.1.0/30', rangeStart: '10.77.1.1', rangeEnd: '10.77.1.2'}]],
    [[{subnet: '2001:db8:77::/126', gateway: '2001:db8:77::3'}]],
  ]);
  const conf: {[key: string]: Value} = {
    cniVersion: random.pick(versions),
    name: 'fuzz',
    type: 'bridge',
    bridge: 'fuzz0',
    delegate: {type: random.pick(['bridge', 'bridge', 'bridge', 'ptp']), bridge: 'fuzz1'},
    ipam: {
      type: random.pick(['host-local', 'host-local', 'host-local', 'static']),
      ranges: structuredClone(subnets),
      addresses: [{address: '10.77.0.5/24', gateway: '10.77.0.1'}],
      routes: [{dst: '0.0.0.0/0'}],
    },
  };
  const options: {[key: string]: Value} = {
    isGateway: true,
    isDefaultGateway: true,
    forceAddress: true,
    ipMasq: true,
    mtu: 1400,
    hairpinMode: true,
    promiscMode: true,
    vlan: 7,
    vlanTrunk: [{minID: 1, maxID: 3}, {id: 9}],
    preserveDefaultVlan: false,
    macspoofchk: true,
    enabledad: false,
    disableContainerInterface: true,
    portIsolation: true,
    dns: {nameservers: ['10.1.1.1'], domain: 'a.b', search: ['a'], options: ['b']},
    args: {cni: {mac: '02:00:00:00:00:07', ips: ['10.77.0.9']}},
    runtimeConfig: {mac: '02:00:00:00:00:08', ips: ['10.77.0.8/24'], ipRanges: [[{subnet: '10.78.0.0/24'}]]},
    ipMasqBackend: 'nftables',
    prevResult: {cniVersion: '1.0.0', interfaces: [], ips: [{address: '10.77.0.3/24'}]},
    sysctl: {'net.ipv4.conf.IFNAME.arp_filter': '1', 'net/core/somaxconn': '100'},
    txQLen: 500,
    allmulti: true,
    table: 5001,
    gateways: ['10.77.0.1'],
    addSourceHints: true,
    'cni.dev/valid-attachments': [{containerID: 'fuzz-1', ifname: 'eth0'}],
    capabilities: {mac: true},
    subnetFile: '/run/flannel/subnet.env',
    dataDir: '/run/fuzz-a',
    runDir: '/run/fuzz-a',
    form: 'l2',
    node: 'a',
    static: {
      network: ['10.77.0.0/16', '2001:db8:77::/48'],
      vni: 7,
      nodes: [{name: 'a', publicIP: '192.0.2.7', subnets: ['10.77.0.0/24', '2001:db8:77::/64']}],
    },
  };
  for (const [key, value] of Object.entries(options)) if (random.oneIn(7)) conf[key] = structuredClone(value);
  return conf;
}

function oddValue(random: Random): Value {
  switch (random.below(6)) {
    case 0:
      return random.pick(oddNumbers);
    case 1:
      return random.pick([null, true, false]);
    case 2:
      return random.pick([[], {}, [[]], [null], {'': ''}] as Value[]);
    case 3:
      return Array.from({length: random.below(4)}, () => random.pick(oddStrings) as Value);
    default:
      return random.pick(oddStrings);
  }
}

/** Every place in a value: the object or array that holds it, and its key there. */
function places(value: Value): {holder: {[key: string]: Value}; key: string}[] {
  if (value === null || typeof value !== 'object') return [];
  const holder = value as {[key: string]: Value};
  return Object.keys(holder).flatMap((key) => [{holder, key}, ...places(holder[key] ?? null)]);
}

function mutateConf(random: Random, conf: {[key: string]: Value}): void {
  const all = places(conf);
  const {holder, key} = random.pick(all);
  switch (random.below(5)) {
    case 0:
      delete holder[key];
      break;
    case 1:
      if (!Array.isArray(holder)) holder[key.toUpperCase()] = oddValue(random);
      break;
    case 2:
      if (Array.isArray(holder)) holder.push(...structuredClone(holder as Value[]));
      else holder[`${key}x`] = oddValue(random);
      break;
    default:
      // A directory that was made up would be made; the root of a test host can only be read, so it fails there.
      holder[key] = oddValue(random);
  }
}

function mutateText(random: Random, text: string): string {
  const at = random.below(text.length + 1);
  switch (random.below(5)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return (
        text.slice(0, at) +
        random.pick(['{', '}', '"', ',', '\\', '\u0000', '[', '9', '\ufeff']) +
        text.slice(at)
      );
    case 2:
      return text.slice(0, at) + text.slice(at + 1);
    case 3:
      return random.pick([
        '',
        'null',
        '[]',
        '"x"',
        '{}',
        ' ',
        '{'.repeat(100_000),
        '['.repeat(10_000),
        text + text,
      ]);
    default:
      return `\ufeff${text}`;
  }
}

function mutateEnv(random: Random, env: Record<string, string>): void {
  const key = random.pick(Object.keys(env));
  if (random.oneIn(3)) delete env[key];
  else if (key === 'CNI_NETNS')
    env[key] = random.pick([
      '',
      '/nonexistent',
      '/etc',
      '/dev/null',
      '/proc/1/ns/mnt',
      '/proc/self/ns/net',
      'relative',
      'x'.repeat(5000),
    ]);
  else if (key === 'CNI_ARGS') env[key] = random.pick(oddArgs);
  else if (key === 'CNI_COMMAND')
    env[key] = random.pick(['add', 'ADD ', 'FOO', '', 'VERSION', 'GC', 'STATUS']);
  // A path without plugins, or with odd ones, but none with programs of the machine.
  else if (key === 'CNI_PATH')
    env[key] = random.pick(['', ':', '/nonexistent', `${env[key]}:${env[key]}`, '/dev/null']);
  else env[key] = random.pick(oddStrings).replaceAll('\u0000', '');
}

/** A call that may be right, and mostly is not. */
export function makeFuzzCase(random: Random, {path, netns}: {path: string; netns: string}): FuzzCase {
  const plugin = random.pick(fuzzedPlugins);
  const conf = baseConf(random);
  const env: Record<string, string> = {
    CNI_COMMAND: random.pick(['ADD', 'ADD', 'ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION']),
    CNI_CONTAINERID: `fuzz-${random.below(3)}`,
    CNI_NETNS: netns,
    CNI_IFNAME: random.pick(['eth0', 'eth0', 'net1']),
    CNI_ARGS: '',
    CNI_PATH: path,
  };
  for (let count = random.below(4); count > 0; count--) mutateConf(random, conf);
  for (let count = random.below(3) - 1; count > 0; count--) mutateEnv(random, env);
  const text = JSON.stringify(conf);
  return {plugin, env, stdin: random.oneIn(8) ? mutateText(random, text) : text};
}

/** The DEL that a runtime makes after a case that was a successful ADD: with the result as prevResult. */
export function delAfter({plugin, env, stdin}: FuzzCase, result: string): FuzzCase {
  const conf = Object.entries(JSON.parse(stdin.replace(/^\ufeff/, '')) as object).filter(
    ([key]) => key.toLowerCase() !== 'prevresult',
  );
  const prevResult = JSON.parse(result) as Value;
  return {
    plugin,
    env: {...env, CNI_COMMAND: 'DEL'},
    stdin: JSON.stringify({...Object.fromEntries(conf), prevResult}),
  };
}
