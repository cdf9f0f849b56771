import {mkdirSync, mkdtempSync, readdirSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {
  endpointDirectory,
  findEndpoint,
  listEndpoints,
  removeEndpoint,
  removeStaleEndpoints,
  writeEndpoint,
} from '../../../lib/overlay/endpoint-file.ts';
import {findOverlayState, removeOverlayState, writeOverlayState} from '../../../lib/overlay/state-file.ts';

const folder = () => mkdtempSync(path.join(tmpdir(), 'weft-'));
const state = {network: 'pods', ready: true, subnetFile: '/run/a.env', subnets: ['10.1.2.0/24'], mtu: 1450};

test('a network is found by its name, or by its subnet file', (t) => {
  const runDir = folder();
  t.is(findOverlayState({network: 'pods', subnetFile: '/run/a.env'}, runDir), undefined);
  writeOverlayState(state, runDir);
  writeOverlayState(
    {...state, network: 'other', subnetFile: '/run/b.env', ready: false, reason: 'r'},
    runDir,
  );
  t.like(findOverlayState({network: 'pods', subnetFile: '/run/x.env'}, runDir), {...state});
  t.like(findOverlayState({network: 'cbr0', subnetFile: '/run/b.env'}, runDir), {
    network: 'other',
    reason: 'r',
  });
  t.is(findOverlayState({network: 'cbr0', subnetFile: '/run/c.env'}, runDir), undefined);
  removeOverlayState('pods', runDir);
  removeOverlayState('pods', runDir);
  t.is(findOverlayState({network: 'pods', subnetFile: '/run/a.env'}, runDir), undefined);
  t.deepEqual(readdirSync(runDir), ['other.json']);
});

test('what is no state is passed over', (t) => {
  const runDir = folder();
  writeFileSync(path.join(runDir, 'pods.json'), '{"network"');
  mkdirSync(path.join(runDir, 'dir.json'));
  t.is(findOverlayState({network: 'pods', subnetFile: '/run/a.env'}, runDir), undefined);
});

const endpoint = {ips: [parseIp('10.9.0.2')!, parseIp('fd00::2')!], mac: '02:00:00:00:00:02'};
const owner = {network: 'blue', containerId: 'c1', ifName: 'eth0'};

test('endpoints are published, listed and withdrawn', (t) => {
  const directory = endpointDirectory('blue', folder());
  t.deepEqual(listEndpoints(directory), []);
  writeEndpoint(directory, owner, endpoint);
  t.deepEqual(findEndpoint(directory, owner), endpoint);
  t.is(findEndpoint(directory, {...owner, ifName: 'eth1'}), undefined);
  writeFileSync(path.join(directory, 'broken.json'), '{');
  t.deepEqual(
    listEndpoints(directory).map(({ips}) => ips.map(formatIp)),
    [['10.9.0.2', 'fd00::2']],
  );
  removeEndpoint(directory, owner);
  removeEndpoint(directory, owner);
  t.deepEqual(listEndpoints(directory), []);
});

test('only what is stale of the network is withdrawn', (t) => {
  const directory = endpointDirectory('blue', folder());
  for (const containerId of ['c1', 'c2']) writeEndpoint(directory, {...owner, containerId}, endpoint);
  writeEndpoint(directory, {...owner, network: 'red', containerId: 'c3'}, endpoint);
  t.is(removeStaleEndpoints(directory, 'blue', [{containerId: 'c2', ifName: 'eth0'}]), 1);
  t.is(findEndpoint(directory, owner), undefined);
  t.is(listEndpoints(directory).length, 2);
});
