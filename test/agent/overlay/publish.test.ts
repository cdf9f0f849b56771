import {mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Publication} from '../../../agent/overlay/publication.ts';
import {readPublishedSubnets} from '../../../agent/overlay/publish.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {openLog} from '../../../lib/log.ts';

const log = openLog({level: 'silent'});
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);

function make(t: ExecutionContext, startGraceMs = 1) {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'weft-publish-'));
  t.teardown(() => rmSync(directory, {recursive: true}));
  const places = {
    name: 'pods',
    subnetFile: path.join(directory, 'flannel/subnet.env'),
    runDir: path.join(directory, 'run'),
  };
  const read = (file: string) => readFileSync(path.join(directory, file), 'utf8');
  return {directory, places, read, publication: new Publication(places, {log, startGraceMs})};
}

const working = {
  network: {
    name: 'pods',
    form: 'routed',
    vni: 7,
    port: 8472,
    ranges: cidrs('10.244.0.0/16', 'fd00:244::/48'),
    directRouting: false,
  },
  subnets: cidrs('10.244.3.0/24', 'fd00:244:0:3::/64'),
  mtu: 1430,
  masquerade: true,
  bridge: undefined,
} as const;

test("what works is written in flannel's words, and once", (t) => {
  const {publication, read, directory} = make(t);
  publication.publish([], working);
  t.is(
    read('flannel/subnet.env'),
    `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:3::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`,
  );
  t.deepEqual(JSON.parse(read('run/pods.json')), {
    network: 'pods',
    ready: true,
    subnetFile: path.join(directory, 'flannel/subnet.env'),
    subnets: ['10.244.3.0/24', 'fd00:244:0:3::/64'],
    mtu: 1430,
    form: 'routed',
    vni: 7,
  });
  // Nothing half-written is left beside them.
  t.deepEqual(readdirSync(path.join(directory, 'flannel')), ['subnet.env']);
});

test('what does not work is said with the reason, and the subnet file stays', (t) => {
  const {publication, read} = make(t);
  publication.publish([], working);
  publication.publish(['flannel.7: no', 'conflict'], undefined);
  const state = JSON.parse(read('run/pods.json')) as {ready: boolean; reason: string; subnets: string[]};
  t.false(state.ready);
  t.is(state.reason, 'flannel.7: no; conflict');
  t.deepEqual(state.subnets, ['10.244.3.0/24', 'fd00:244:0:3::/64']);
  t.regex(read('flannel/subnet.env'), /10\.244\.3\.1/);
});

test('before other subnets are served, the file of the old ones goes; the same ones leave it alone', (t) => {
  const {publication, places, read} = make(t);
  publication.publish([], working);
  t.deepEqual(readPublishedSubnets(places.subnetFile), [...working.subnets]);
  publication.withdrawOther(working.subnets);
  t.regex(read('flannel/subnet.env'), /10\.244\.3\.1/);
  publication.withdrawOther(cidrs('10.244.9.0/24', 'fd00:244:0:3::/64'));
  t.throws(() => read('flannel/subnet.env'), {code: 'ENOENT'});
  t.deepEqual(readPublishedSubnets(places.subnetFile), []);
});

test('an agent that has just started leaves standing for a while what the one before said', (t) => {
  const before = make(t);
  before.publication.publish([], working);
  const said = before.read('run/pods.json');
  const next = new Publication(before.places, {log, startGraceMs: 3_600_000});
  next.publish(['nothing is known of its hosts yet'], undefined);
  t.is(before.read('run/pods.json'), said);
  // Once it has worked itself, it says what it knows.
  next.publish([], working);
  next.publish(['conflict'], undefined);
  t.regex(before.read('run/pods.json'), /"ready":false/);
});
