import test from 'ava';
import type {ExecutionContext} from 'ava';
import {openLog} from '../../../lib/log.ts';
import type {Call} from '../../../lib/cni/plugin.ts';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {addAddresses} from '../../../plugins/host-local/add.ts';
import {planRangeSets} from '../../../plugins/host-local/range.ts';
import {makeStore} from '../../lib/store/helpers.ts';

/** ADDs to a range of five addresses, on a machine where an earlier boot left `old`. */
function makeNetwork(t: ExecutionContext, old: readonly string[]) {
  const {open, root} = makeStore(t);
  const conf = {
    network: 'net1',
    dataDir: root,
    indexDir: root,
    sets: planRangeSets([[{subnet: parseCidr('10.1.2.0/29')}]]),
    routes: [],
    resolvConf: undefined,
    reclaimAfterReboot: true,
    statusFailsWhenFull: false,
  };
  return (id: string, {reclaimAfterReboot = true, requested = ''} = {}) => {
    const call = {
      containerId: id,
      ifName: 'eth0',
      log: openLog({level: 'silent', bindings: {}}),
      warn: t.log,
    };
    return open((store) => {
      const isReclaimable = (ip: {toString(): string}) =>
        old.includes(ip.toString()) &&
        store.findHolder(parseIp(ip.toString())!)?.containerId.startsWith('old') === true;
      const asked = requested === '' ? [] : [parseIp(requested)!];
      const ips = addAddresses(
        store,
        {...conf, reclaimAfterReboot, requested: asked},
        call as unknown as Call,
        {
          isReclaimable,
          isAlive: () => false,
        },
      );
      return ips.map(({address}) => formatIp(address.ip)).join();
    });
  };
}

test('an exhausted range gives what an earlier boot left', async (t) => {
  const add = makeNetwork(t, ['10.1.2.3', '10.1.2.5']);
  for (const id of ['c1', 'old1', 'c2', 'old2', 'c3']) await add(id);
  await t.throwsAsync(add('c4', {reclaimAfterReboot: false}), {message: /no IP addresses available/});
  t.is(await add('c4'), '10.1.2.3');
  t.is(await add('c5'), '10.1.2.5');
  await t.throwsAsync(add('c6'), {message: /no IP addresses available/});
});

test('nothing is reclaimed while there are free addresses', async (t) => {
  const add = makeNetwork(t, ['10.1.2.2']);
  await add('old1');
  for (const last of ['3', '4', '5', '6', '2']) t.is(await add(`c${last}`), `10.1.2.${last}`);
});

test('a container that comes again after a reboot is no duplicate', async (t) => {
  const add = makeNetwork(t, ['10.1.2.2']);
  t.is(await add('old1'), '10.1.2.2');
  await t.throwsAsync(add('old1', {reclaimAfterReboot: false}), {message: /duplicate allocation/});
  t.is(await add('old1'), '10.1.2.3');
  await t.throwsAsync(add('old1'), {message: /10\.1\.2\.3 has been allocated to old1, duplicate allocation/});
});

test('an address that is asked for is taken from an earlier boot', async (t) => {
  const add = makeNetwork(t, ['10.1.2.2']);
  await add('old1');
  await t.throwsAsync(add('c1', {requested: '10.1.2.2', reclaimAfterReboot: false}), {
    message: /is not available/,
  });
  t.is(await add('c1', {requested: '10.1.2.2'}), '10.1.2.2');
  await t.throwsAsync(add('c2', {requested: '10.1.2.2'}), {message: /is not available/});
});
