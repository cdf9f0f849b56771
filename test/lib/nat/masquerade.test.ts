import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {ensureMasquerade, gcMasquerade, removeMasquerade} from '../../../lib/nat/masquerade.ts';
import {NetlinkError} from '../../../lib/netlink/error.ts';
import type {Request} from '../../../lib/netlink/message.ts';
import type {Netlink} from '../../../lib/netlink/netlink.ts';

const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};
const ips = [parseCidr('10.88.0.5/16')!];
const errnos = {EBUSY: 16, ENOENT: 2, EPERM: 1, EEXIST: 17, EOPNOTSUPP: 95, ERESTART: 85} as const;

/**
 * A kernel that answers every question with ENOENT, and each transaction with what `answer` says: an error for a
 * message (by its text; the first is the transaction itself), or nothing.
 */
function kernel(answer: (what: string, transaction: number) => keyof typeof errnos | undefined) {
  const transactions: string[][] = [];
  const refuse = (request: Request, code: keyof typeof errnos) =>
    new NetlinkError(request.what, errnos[code]);
  const nft: Netlink = {
    request: () => Promise.reject(new Error('not used')),
    get: (request) =>
      request.what === 'nftables generation'
        ? Promise.resolve(transactions.length as never)
        : Promise.reject(refuse(request, 'ENOENT')),
    dump: (request) => Promise.reject(refuse(request, 'ENOENT')),
    batch(requests) {
      transactions.push(requests.slice(1, -1).map(({what}) => what));
      return Promise.resolve(
        requests.map((request) => {
          const code = answer(request.what, transactions.length);
          return {error: code && refuse(request, code), replies: []};
        }),
      );
    },
    close() {},
  };
  return {host: {nft}, transactions};
}

test('a host that masquerades already is asked once, and only for the address', async (t) => {
  const {host, transactions} = kernel(() => undefined);
  await ensureMasquerade(host, {owner, ips});
  t.deepEqual(transactions, [
    [
      'create element inet weft masq-addresses4 { 10.88.0.5 ' +
        'comment "d23676b4f2d9fe04-0b65a318f52e521b, net: mynet, if: eth0, id: cid1" : goto masq-except-10.88.0.0/16 }',
    ],
  ]);
});

test('what turns out to be missing is made, and what somebody else made meanwhile is left out', async (t) => {
  const {host, transactions} = kernel((what, transaction) => {
    if (transaction === 1) return what.startsWith('create element') ? 'ENOENT' : undefined;
    if (transaction === 2) return what.startsWith('create chain inet weft masq-post') ? 'EEXIST' : undefined;
    return undefined;
  });
  await ensureMasquerade(host, {owner, ips});
  const verbs = transactions.map((transaction) =>
    transaction.map((what) => what.split(' ').slice(0, 5).join(' ')),
  );
  t.deepEqual(verbs[2], [
    'add table inet weft {',
    'add map inet weft masq-addresses4',
    'add map inet weft masq-addresses6',
    'create chain inet weft masq-except-10.88.0.0/16',
    'add rule inet weft masq-except-10.88.0.0/16',
    'add rule inet weft masq-except-10.88.0.0/16',
    'add rule inet weft masq-except-10.88.0.0/16',
    'create element inet weft masq-addresses4',
  ]);
  t.is(transactions.length, 3);
});

for (const code of ['EEXIST', 'EBUSY'] as const) {
  test(`an address that is taken (${code}) is replaced in one transaction`, async (t) => {
    const {host, transactions} = kernel((what, transaction) =>
      transaction === 1 && what.startsWith('create element') ? code : undefined,
    );
    await ensureMasquerade(host, {owner, ips});
    t.deepEqual(
      transactions[1]?.map((what) => what.split(' ').slice(0, 2).join(' ')),
      ['delete element', 'create element'],
    );
    t.is(transactions.length, 2);
  });
}

test('a table in which nothing can ever be made is given up, with the remedy', async (t) => {
  const {host, transactions} = kernel((what) => (what.startsWith('create element') ? 'ENOENT' : undefined));
  const error = await t.throwsAsync(ensureMasquerade(host, {owner, ips}));
  t.regex(error.message, /nft list table inet weft/);
  t.true(transactions.length <= 20);
});

const refuses = test.macro(
  async (t, code: keyof typeof errnos, when: RegExp, msg: RegExp, details: RegExp) => {
    const {host} = kernel((what) => (when.test(what) ? code : undefined));
    const error = await t.throwsAsync(ensureMasquerade(host, {owner, ips}), {instanceOf: CniError});
    t.regex(error.message, msg);
    t.regex(error.details, details);
  },
);

test('EPERM names the capability', refuses, 'EPERM', /^nftables transaction/, /EPERM/, /CAP_NET_ADMIN/);

test('a kernel without masquerading names the modules', async (t) => {
  const {host} = kernel((what) => {
    if (what.startsWith('create element')) return 'ENOENT';
    return what.endsWith(' masquerade') ? 'ENOENT' : undefined;
  });
  const error = await t.throwsAsync(ensureMasquerade(host, {owner, ips}), {instanceOf: CniError});
  t.regex(error.message, /add rule inet weft masq-except-10\.88\.0\.0\/16 masquerade: ENOENT/);
  t.regex(error.details, /nft_masq/);
});

test('removing and collecting where there is nothing sends no transaction', async (t) => {
  const {host, transactions} = kernel(() => undefined);
  await removeMasquerade(host, owner, {ips, reference: false});
  await removeMasquerade(host, owner, {reference: false});
  await gcMasquerade(host, 'mynet', [], {reference: false});
  t.deepEqual(transactions, []);
});

test('a kernel without nftables has nothing to remove', async (t) => {
  const host = {
    get nft(): Netlink {
      throw Object.assign(new Error('socket EPROTONOSUPPORT'), {code: 'EPROTONOSUPPORT'});
    },
  };
  await t.notThrowsAsync(removeMasquerade(host, owner, {ips, reference: false}));
});

test('without nftables and without iptables the error says what to load or install', async (t) => {
  const {host} = kernel(() => 'EOPNOTSUPP');
  const nowhere = {env: {PATH: ''}, directories: []};
  const error = await t.throwsAsync(ensureMasquerade(host, {owner, ips}, nowhere), {instanceOf: CniError});
  t.is(error?.message, 'ipMasq: this kernel has no nftables');
  t.regex(
    error?.details ?? '',
    /load the module nf_tables, or install iptables and set "ipMasqBackend": "iptables"/,
  );
});

test('without nftables the rules are iptables', async (t) => {
  const {host} = kernel(() => 'EOPNOTSUPP');
  const folder = mkdtempSync(join(tmpdir(), 'weft-nat-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const script = `#!/bin/sh\nexec /bin/cat > ${folder}/input\n`;
  writeFileSync(join(folder, 'iptables-restore'), script, {mode: 0o755});
  await ensureMasquerade(host, {owner, ips}, {env: {PATH: folder}, directories: []});
  t.regex(readFileSync(join(folder, 'input'), 'utf8'), /-A POSTROUTING -s 10\.88\.0\.5/);
});
