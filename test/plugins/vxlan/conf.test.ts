import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {parseVxlanConf} from '../../../plugins/vxlan/conf.ts';
import {cidrs} from './helpers.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const parse = async (conf: object) => parseVxlanConf(await callFor({type: 'vxlan', ...conf}));

const defaults = {
  owner: {network: 'net1', containerId: 'container1', ifName: 'eth0'},
  subnetFile: '/run/flannel/subnet.env',
  dataDir: '/var/lib/cni/flannel',
  runDir: '/run/weft/overlay',
  network: 'net1',
  form: undefined,
  static: undefined,
  node: undefined,
  masquerade: true,
  exemptDestinations: [],
  filter: true,
  template: {
    name: 'net1',
    cniVersion: '1.0.0',
    type: 'bridge',
    delegate: {},
    ipam: {},
    runtimeConfig: undefined,
    logging: {},
  },
};

test('every key has its default, which null and an empty text leave', async (t) => {
  t.deepEqual(await parse({}), defaults);
  const keys = ['subnetFile', 'dataDir', 'runDir', 'network', 'node', 'static'];
  t.deepEqual(await parse(Object.fromEntries(keys.map((key) => [key, '']))), defaults);
  const more = [
    ...keys,
    'masquerade',
    'exemptDestinations',
    'filter',
    'form',
    'delegate',
    'ipam',
    'runtimeConfig',
  ];
  t.deepEqual(await parse(Object.fromEntries(more.map((key) => [key, null]))), defaults);
});

test('every key, in any case', async (t) => {
  t.deepEqual(
    await parse({
      SubnetFile: '/s',
      DATADIR: '/d',
      rundir: '/r',
      Network: 'pods',
      Form: 'l2',
      STATIC: {network: '10.0.0.0/8'},
      Node: 'node-a',
      Masquerade: false,
      exemptdestinations: ['192.0.2.0/24'],
      FILTER: false,
      Delegate: {TYPE: 'ptp', x: 1},
      IPAM: {type: 'static'},
      runtimeconfig: {mac: 'x'},
      LogLevel: 'debug',
    }),
    {
      ...defaults,
      subnetFile: '/s',
      dataDir: '/d',
      runDir: '/r',
      network: 'pods',
      form: 'l2',
      static: {network: '10.0.0.0/8'},
      node: 'node-a',
      masquerade: false,
      exemptDestinations: cidrs('192.0.2.0/24'),
      filter: false,
      template: {
        ...defaults.template,
        type: 'ptp',
        delegate: {TYPE: 'ptp', x: 1},
        ipam: {type: 'static'},
        runtimeConfig: {mac: 'x'},
        logging: {logLevel: 'debug'},
      },
    },
  );
});

test('"static" may be the path of a file', async (t) => {
  t.is((await parse({static: '/etc/weft/hosts.json'})).static, '/etc/weft/hosts.json');
});

const refuses = test.macro({
  title: (_, conf: object, msg: string) => `${JSON.stringify(conf)} is refused: ${msg}`,
  async exec(t, conf: object, msg: string) {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
    t.is(error?.message, msg);
    t.is(error?.code, 7);
  },
});

test(refuses, {delegate: {type: 5}}, "'delegate' dictionary, if present, must have (string) 'type' field");
test(
  refuses,
  {delegate: {name: 'x'}},
  "'delegate' dictionary must not have 'name' field, it'll be set by flannel",
);
test(
  refuses,
  {delegate: {IPAM: {}}},
  "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel",
);
test(refuses, {static: 'hosts.json'}, 'static: "hosts.json" is not an absolute path');
test(refuses, {form: 'l3'}, 'failed to load netconf: form: expected one of "routed", "l2", found "l3"');
test(
  refuses,
  {runDir: '/run/\0'},
  'failed to load netconf: "/run/\\u0000" is not a path: it has a zero byte',
);
test(refuses, {subnetFile: 5}, 'failed to load netconf: subnetFile: expected a string, found 5');
test(
  refuses,
  {static: 5},
  'failed to load netconf: static: expected an object or the path of a file, found 5',
);
test(refuses, {ipam: {routes: [{dst: 'x'}]}}, 'failed to load netconf: invalid CIDR address: x');
test(refuses, {ipam: {type: 'flannel'}}, '"ipam" has "type": "flannel", which delegates itself');
