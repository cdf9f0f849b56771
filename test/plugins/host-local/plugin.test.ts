import {existsSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {makeNetwork} from './helpers.ts';
import type {CallOptions} from './helpers.ts';

const dual = [[{subnet: '10.1.2.0/24'}], [{subnet: '2001:db8:1::/64'}]];

test('ADD gives one address of each range set, with every key of the result', async (t) => {
  const {root, call, read, reserved} = makeNetwork(t, dual);
  writeFileSync(join(root, 'resolv.conf'), 'nameserver 192.0.2.3\nsearch a.test\n');
  const routes = [
    {dst: '0.0.0.0/0'},
    {dst: '192.168.0.0/16', gw: '10.1.2.1', mtu: 1400, advmss: 1360, priority: 5, table: 50, scope: 253},
  ];
  const reply = await call('ADD', {ipam: {routes, resolvConf: join(root, 'resolv.conf')}});
  t.deepEqual(reply, {
    cniVersion: '1.1.0',
    ips: [
      {address: '10.1.2.2/24', gateway: '10.1.2.1'},
      {address: '2001:db8:1::2/64', gateway: '2001:db8:1::1'},
    ],
    routes,
    dns: {nameservers: ['192.0.2.3'], search: ['a.test']},
  } as object);
  t.deepEqual(reserved(), ['10.1.2.2', '2001:db8:1::2']);
  t.is(read('10.1.2.2'), 'c1\r\neth0');
  t.is(read('last_reserved_ip.0'), '10.1.2.2');
  t.is(read('last_reserved_ip.1'), '2001:db8:1::2');
});

test('addresses go round: one that was given back comes last', async (t) => {
  const {add, del} = makeNetwork(t, [[{subnet: '10.1.2.0/29'}]]);
  t.deepEqual(await add('c1'), ['10.1.2.2']);
  await del('c1');
  t.deepEqual(await add('c2'), ['10.1.2.3']);
  t.deepEqual(await add('c3'), ['10.1.2.4']);
  t.deepEqual(await add('c4'), ['10.1.2.5']);
  t.deepEqual(await add('c5'), ['10.1.2.6']);
  t.deepEqual(await add('c6'), ['10.1.2.2']);
});

test('the legacy range comes before `ranges`, those of the runtime before both', async (t) => {
  const {add} = makeNetwork(t, [[{subnet: '10.3.0.0/24'}]]);
  const ips = await add('c1', {
    ipam: {subnet: '10.2.0.0/24', rangeStart: '10.2.0.50', rangeEnd: '10.2.0.60', gateway: '10.2.0.254'},
    conf: {runtimeConfig: {ipRanges: [[{subnet: '10.1.0.0/24'}]]}},
  });
  t.deepEqual(ips, ['10.1.0.2', '10.2.0.50', '10.3.0.2']);
});

test('keys are read in any case', async (t) => {
  const {call} = makeNetwork(t);
  const reply = await call('ADD', {conf: {RuntimeConfig: {IPS: ['10.1.2.99']}}});
  t.is(reply.ips?.[0]?.address, '10.1.2.99/24');
});

test('requested addresses come from three sources, and each set takes one', async (t) => {
  const {add, read} = makeNetwork(t, [
    [{subnet: '10.1.2.0/24'}],
    [{subnet: '10.1.3.0/24'}],
    [{subnet: '2001:db8::/64'}],
  ]);
  const ips = await add('c1', {
    args: 'IP=10.1.3.77/24;IgnoreUnknown=1;K8S_POD_NAME=x',
    conf: {args: {cni: {ips: ['2001:DB8::99/64']}}, runtimeConfig: {ips: ['10.1.2.77']}},
  });
  t.deepEqual(ips, ['10.1.2.77', '10.1.3.77', '2001:db8::99']);
  t.is(read('last_reserved_ip.0'), '10.1.2.77');
  t.deepEqual((await add('c2')).slice(0, 1), ['10.1.2.78']);
});

test('an address that is asked for twice is asked for once', async (t) => {
  const {add} = makeNetwork(t);
  t.deepEqual(await add('c1', {args: 'IP=10.1.2.7', conf: {runtimeConfig: {ips: ['10.1.2.7/24']}}}), [
    '10.1.2.7',
  ]);
});

test('a second ADD that asks for an address gets it', async (t) => {
  const {add, reserved, del} = makeNetwork(t);
  await add('c1');
  t.deepEqual(await add('c1', {args: 'IP=10.1.2.7'}), ['10.1.2.7']);
  t.deepEqual(reserved(), ['10.1.2.2', '10.1.2.7']);
  await del('c1');
  t.deepEqual(reserved(), []);
});

test('another interface of the same container gets an address of its own', async (t) => {
  const {add, del, reserved} = makeNetwork(t);
  t.deepEqual(await add('c1'), ['10.1.2.2']);
  t.deepEqual(await add('c1', {ifName: 'eth1'}), ['10.1.2.3']);
  await del('c1', {ifName: 'eth1'});
  t.deepEqual(reserved(), ['10.1.2.2']);
});

test('a reservation in the oldest format is found and given back', async (t) => {
  const {call, directory, reserved, add} = makeNetwork(t);
  await add('other');
  writeFileSync(join(directory, '10.1.2.9'), 'c1\n');
  t.deepEqual(await call('CHECK'), {});
  t.regex((await call('ADD')).msg!, /10\.1\.2\.9 has been allocated to c1, duplicate/);
  t.deepEqual(await call('DEL'), {});
  t.deepEqual(reserved(), ['10.1.2.2']);
});

test('DEL takes the oldest format only where nothing else is the attachment’s', async (t) => {
  const {add, call, directory, reserved} = makeNetwork(t);
  await add('c1');
  writeFileSync(join(directory, '10.1.2.9'), 'c1');
  await call('DEL');
  t.deepEqual(reserved(), ['10.1.2.9']);
});

test('DEL twice, and DEL of what never was, succeed and make no directory', async (t) => {
  const {del, add, root} = makeNetwork(t);
  t.deepEqual(await del('c1'), {});
  t.throws(() => rmSync(join(root, 'networks')), {code: 'ENOENT'});
  await add('c1');
  t.deepEqual(await del('c1'), {});
  t.deepEqual(await del('c1'), {});
});

for (const ipam of [
  {ranges: [[{subnet: 'nonsense'}]]},
  {ranges: 5},
  {ranges: []},
  {ranges: [[{subnet: '10.9.9.9/8'}]]},
  {resolvConf: '/no/such/file'},
  {routes: 'x'},
]) {
  test(`DEL works with ${JSON.stringify(ipam)}`, async (t) => {
    const {add, del, reserved} = makeNetwork(t);
    await add('c1');
    t.deepEqual(await del('c1', {ipam, args: 'nonsense'}), {});
    t.deepEqual(reserved(), []);
  });
}

test('CHECK finds a reservation, whatever the address', async (t) => {
  const {call, add, del} = makeNetwork(t, dual);
  await add('c1');
  t.deepEqual(await call('CHECK', {ipam: {ranges: [[{subnet: '192.0.2.0/24'}]]}}), {});
  await del('c1');
  const {code, msg} = await call('CHECK');
  t.deepEqual([code, msg], [999, 'host-local: Failed to find address added by container c1']);
});

const refuses = test.macro(async (t, options: CallOptions, code: number, msg: string | RegExp) => {
  const {call, reserved, add} = makeNetwork(t, dual);
  await add('other', {args: 'IP=10.1.2.5'});
  const reply = await call('ADD', options);
  t.is(reply.code, code);
  if (typeof msg === 'string') t.is(reply.msg, msg);
  else t.regex(reply.msg!, msg);
  t.deepEqual(reserved(), ['10.1.2.5', '2001:db8:1::2'], 'nothing is reserved');
});

test('no ipam', refuses, {conf: {ipam: null}}, 999, "IPAM config missing 'ipam' key");
test('no ranges', refuses, {ipam: {ranges: []}}, 999, 'no IP ranges specified');
test('an empty range set', refuses, {ipam: {ranges: [[]]}}, 999, 'invalid range set 0: empty range set');
test('a subnet that is none', refuses, {ipam: {ranges: [[{subnet: 'x'}]]}}, 7, /invalid CIDR address: x/);
test(
  'a gateway that is none',
  refuses,
  {ipam: {ranges: [[{subnet: '10.0.0.0/8', gateway: '10.0.0'}]]}},
  7,
  /invalid IP address: 10\.0\.0/,
);
test('a wrong type', refuses, {ipam: {dataDir: 5}}, 7, /ipam\.dataDir: expected a string, found 5/);
test(
  'a missing resolvConf',
  refuses,
  {ipam: {resolvConf: '/no/such/file'}},
  5,
  'open /no/such/file: no such file or directory',
);
test(
  'two sets of a family before 0.3.0',
  refuses,
  {conf: {cniVersion: '0.2.0'}, ipam: {ranges: [[{subnet: '10.1.0.0/24'}], [{subnet: '10.2.0.0/24'}]]}},
  999,
  'CNI version 0.2.0 does not support more than 1 address per family',
);
test(
  'two sets of a family without a version',
  refuses,
  {conf: {cniVersion: ''}, ipam: {ranges: [[{subnet: '10.1.0.0/24'}], [{subnet: '10.2.0.0/24'}]]}},
  999,
  'CNI version  does not support more than 1 address per family',
);
test(
  'IP in CNI_ARGS that is none',
  refuses,
  {args: 'IP=10.1'},
  4,
  'ARGS: error parsing value of pair "IP=10.1": invalid IP address 10.1)',
);
test(
  'an unknown key in CNI_ARGS',
  refuses,
  {args: 'MAC=02:00:00:00:00:01'},
  4,
  'ARGS: unknown args ["MAC=02:00:00:00:00:01"]',
);
test('a bad pair in CNI_ARGS', refuses, {args: 'IP'}, 4, 'ARGS: invalid pair "IP"');
test(
  'a bad address in args.cni.ips',
  refuses,
  {conf: {args: {cni: {ips: ['x']}}}},
  7,
  /invalid IP address x/,
);
test(
  'an empty address in runtimeConfig.ips',
  refuses,
  {conf: {runtimeConfig: {ips: ['']}}},
  7,
  /cannot understand ip: IP <nil> not v4 nor v6/,
);
test(
  'the gateway asked for',
  refuses,
  {args: 'IP=10.1.2.1'},
  999,
  "failed to allocate for range 0: requested ip 10.1.2.1 is subnet's gateway",
);
test(
  'a taken address asked for',
  refuses,
  {args: 'IP=10.1.2.5'},
  999,
  'failed to allocate for range 0: requested IP address 10.1.2.5 is not available in range set 10.1.2.1-10.1.2.254',
);
test(
  'a taken address of the second set asked for',
  refuses,
  {conf: {runtimeConfig: {ips: ['2001:db8:1::2']}}},
  999,
  /^failed to allocate for range 1: requested IP address 2001:db8:1::2 is not available/,
);
test(
  'addresses of no set asked for',
  refuses,
  {conf: {runtimeConfig: {ips: ['10.1.2.9', '192.0.2.1', '192.0.2.2/24', '10.1.2.10']}}},
  999,
  'failed to allocate all requested IPs: 192.0.2.1 192.0.2.2 10.1.2.10',
);
test(
  'a second ADD',
  refuses,
  {id: 'other'},
  999,
  'failed to allocate for range 0: 10.1.2.5 has been allocated to other, duplicate allocation is not allowed',
);

test('an exhausted range says how many are used, and gives back what the other sets gave', async (t) => {
  const {add, call, reserved, directory} = makeNetwork(t, [
    [{subnet: '10.1.0.0/24'}],
    [{subnet: '10.1.2.0/30'}],
  ]);
  await add('c1');
  const {code, msg, details} = await call('ADD', {id: 'c2'});
  t.is(code, 999);
  t.is(msg, 'failed to allocate for range 1: no IP addresses available in range set: 10.1.2.1-10.1.2.2');
  t.true(details!.startsWith('1 used, 0 free; enlarge ipam.ranges'));
  t.true(details!.includes('weft gc net1'));
  t.true(details!.includes(directory));
  t.deepEqual(reserved(), ['10.1.0.2', '10.1.2.2']);
});

test('an empty file is free', async (t) => {
  const {add, directory, read} = makeNetwork(t, [[{subnet: '10.1.2.0/30'}]]);
  mkdirSync(directory, {recursive: true});
  writeFileSync(join(directory, '10.1.2.2'), '');
  t.deepEqual(await add('c1'), ['10.1.2.2']);
  t.is(read('10.1.2.2'), 'c1\r\neth0');
});

test('a file of zeros, which a power failure leaves, is free', async (t) => {
  const {add, directory} = makeNetwork(t, [[{subnet: '10.1.2.0/30'}]]);
  mkdirSync(directory, {recursive: true});
  writeFileSync(join(directory, '10.1.2.2'), Buffer.alloc(20));
  t.deepEqual(await add('c1', {args: 'IP=10.1.2.2'}), ['10.1.2.2']);
});

test('something that cannot be read has its address', async (t) => {
  const {add, directory} = makeNetwork(t);
  mkdirSync(join(directory, '10.1.2.2'), {recursive: true});
  t.deepEqual(await add('c1'), ['10.1.2.3']);
});

const attachments = (...ids: string[]) => ids.map((containerID) => ({containerID, ifname: 'eth0'}));

test('GC keeps what is valid, and what is in the oldest format while its container is', async (t) => {
  const {add, call, directory, reserved} = makeNetwork(t);
  for (const id of ['c1', 'c2', 'c3']) await add(id);
  await add('c1', {ifName: 'eth1'});
  writeFileSync(join(directory, '10.1.2.8'), 'c2');
  writeFileSync(join(directory, '10.1.2.9'), 'c9');
  writeFileSync(join(directory, '10.1.2.10'), '');
  writeFileSync(join(directory, 'notes'), 'c9');
  t.deepEqual(await call('GC', {conf: {'cni.dev/valid-attachments': attachments('c1', 'c2')}}), {});
  t.deepEqual(reserved(), ['10.1.2.2', '10.1.2.3', '10.1.2.8']);
  t.notThrows(() => rmSync(join(directory, 'notes')));
  t.notThrows(() => rmSync(join(directory, 'lock')));
  t.notThrows(() => rmSync(join(directory, 'last_reserved_ip.0')));
});

test('GC with an empty list, in the legacy spelling too, removes everything', async (t) => {
  const {add, call, reserved} = makeNetwork(t, dual);
  await add('c1');
  t.deepEqual(await call('GC', {conf: {'cni.dev/attachments': []}, ipam: {ranges: 'broken'}}), {});
  t.deepEqual(reserved(), []);
});

test('GC without a list is error 7 and removes nothing', async (t) => {
  const {add, call, reserved} = makeNetwork(t);
  await add('c1');
  t.is((await call('GC')).code, 7);
  t.deepEqual(reserved(), ['10.1.2.2']);
});

test('STATUS is well where a range is full, unless it is asked to say so', async (t) => {
  const {add, call, root} = makeNetwork(t, [[{subnet: '10.1.0.0/24'}], [{subnet: '10.1.2.0/30'}]]);
  const statusFailsWhenFull = true;
  t.deepEqual(await call('STATUS', {ipam: {statusFailsWhenFull}}), {});
  t.throws(() => rmSync(join(root, 'networks')), {code: 'ENOENT'}, 'STATUS makes nothing');
  await add('c1');
  t.deepEqual(await call('STATUS'), {});
  const {code, msg, details} = await call('STATUS', {ipam: {statusFailsWhenFull}});
  t.deepEqual([code, msg], [50, 'no IP addresses available in range set: 10.1.2.1-10.1.2.2']);
  t.true(details!.startsWith('1 used, 0 free'));
});

test('STATUS is error 50 where ADD would find no place to write, or no resolvConf', async (t) => {
  const {call, root} = makeNetwork(t);
  writeFileSync(join(root, 'file'), '');
  const reply = await call('STATUS', {ipam: {dataDir: join(root, 'file/below')}});
  t.is(reply.code, 50);
  t.is(reply.msg, `cannot write to ${join(root, 'file/below/net1')}: not a directory`);
  t.is((await call('STATUS', {ipam: {resolvConf: '/no/such/file'}})).code, 50);
  // The lock cannot be made where a link leads nowhere.
  mkdirSync(join(root, 'odd/net1'), {recursive: true});
  symlinkSync('lock', join(root, 'odd/net1/lock'));
  const locked = await call('STATUS', {ipam: {dataDir: join(root, 'odd')}});
  t.is(locked.code, 50);
  t.regex(locked.msg!, /^cannot open .*lock: /);
});

test('a route with a number that the kernel has no room for is refused before anything is reserved', async (t) => {
  const {call, root} = makeNetwork(t);
  for (const [route, expected] of [
    [{scope: 256}, 'ipam.routes[0].scope: expected at most 255, found 256'],
    [{table: -1}, 'ipam.routes[0].table: expected at least 0, found -1'],
    [{mtu: 2 ** 32}, 'ipam.routes[0].mtu: expected at most 4294967295, found 4294967296'],
  ] as const) {
    const {code, msg} = await call('ADD', {ipam: {routes: [{dst: '10.0.0.0/8', ...route}]}});
    t.deepEqual([code, msg], [7, `failed to load netconf: ${expected}`]);
  }
  t.false(existsSync(join(root, 'networks')));
});

/** As if it had been written long before the machine was started. */
const makeOld = (directory: string, name: string) => utimesSync(join(directory, name), 1, 1);

test('what this boot reserved is not reclaimed, however old the file claims to be', async (t) => {
  const {add, call, directory} = makeNetwork(t, [[{subnet: '10.1.2.0/30'}]]);
  await add('c1');
  // The time of its last change of any kind is of this boot.
  makeOld(directory, '10.1.2.2');
  t.is((await call('ADD', {id: 'c2'})).code, 999);
});
