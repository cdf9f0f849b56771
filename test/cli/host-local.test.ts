import {mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import type {Command, Context} from '../../cli/command.ts';
import {gc, planCollection} from '../../cli/gc.ts';
import {status} from '../../cli/status.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {holder, ip, makeStore} from '../lib/store/helpers.ts';

/** A machine with one configuration, a network with reservations and one that only has reservations. */
function makeMachine(t: ExecutionContext) {
  const root = mkdtempSync(join(tmpdir(), 'weft-cli-'));
  t.teardown(() => rmSync(root, {recursive: true, force: true}));
  const [confDir, dataDir, cacheDir] = [join(root, 'net.d'), join(root, 'networks'), join(root, 'cache')];
  const write = (path: string, text: string) => {
    mkdirSync(join(path, '..'), {recursive: true});
    writeFileSync(path, text);
  };
  const ipam = {
    type: 'host-local',
    dataDir,
    indexDir: join(root, 'index'),
    ranges: [[{subnet: '10.1.2.0/29'}], [{subnet: 'fd00::/64'}]],
  };
  write(
    join(confDir, '10-a.conflist'),
    JSON.stringify({cniVersion: '1.0.0', name: 'neta', plugins: [{type: 'bridge', ipam}, {type: 'x'}]}),
  );
  write(
    join(confDir, '20-b.conflist'),
    JSON.stringify({cniVersion: '1.0.0', name: 'netb', plugins: [{type: 'bridge', ipam: {type: 'dhcp'}}]}),
  );
  for (const name of ['neta', 'oldnet']) {
    write(join(dataDir, name, 'lock'), '');
    write(join(dataDir, name, '10.1.2.2'), 'c1\r\neth0');
  }
  write(join(dataDir, 'neta/10.9.9.9'), 'c9');
  write(join(dataDir, 'neta/10.1.2.5'), '');
  const run = async (command: Command, ...args: string[]) => {
    const [out, err]: [string[], string[]] = [[], []];
    const places = ['--conf-dir', confDir, '--data-dir', dataDir];
    const context = {
      args: [...args, ...places],
      env: {},
      release: undefined as never,
      program: '',
      plugins: [],
    };
    const code = await command.run({
      ...context,
      out: (line: string) => out.push(line),
      err: (line: string) => err.push(line),
    } as unknown as Context);
    return {code, out, err};
  };
  return {root, confDir, dataDir, cacheDir, run};
}

test('weft status shows ranges with their counts, and directories without a configuration', async (t) => {
  const {run, dataDir} = makeMachine(t);
  const {code, out} = await run(status);
  t.is(code, 0);
  t.deepEqual(
    out.map((line) => line.split(/ {2,}/)),
    [
      ['NETWORK', 'RANGES', 'USED', 'FREE'],
      ['neta', '10.1.2.1-10.1.2.6', '1', '4'],
      ['neta', 'fd00::1-fd00::ffff:ffff:ffff:ffff', '0', '18,446,744,073,709,551,614'],
      ['oldnet', `no configuration; ${dataDir}`, '1', '-'],
    ],
  );
});

test('weft status --json', async (t) => {
  const {run, dataDir} = makeMachine(t);
  const {out} = await run(status, '--json');
  t.deepEqual(JSON.parse(out.join('\n')), {
    networks: [
      {
        name: 'neta',
        dataDir,
        used: 2,
        sets: [
          {ranges: ['10.1.2.1-10.1.2.6'], used: 1, free: 4},
          {ranges: ['fd00::1-fd00::ffff:ffff:ffff:ffff'], used: 0, free: 2 ** 64},
        ],
      },
      {name: 'oldnet', dataDir, used: 1},
    ],
  });
});

test('weft status names a configuration that cannot be read, and shows the rest', async (t) => {
  const {run, confDir, dataDir} = makeMachine(t);
  writeFileSync(join(confDir, '05-c.conflist'), '{');
  const ipam = {type: 'host-local', dataDir, ranges: [[{subnet: '10.1.2.3/29'}]]};
  writeFileSync(
    join(confDir, '06-d.conf'),
    JSON.stringify({cniVersion: '1.0.0', name: 'netd', type: 'bridge', ipam}),
  );
  const {out, err} = await run(status);
  t.is(out.length, 5);
  t.is(err.length, 2);
  t.regex(err[0]!, /05-c\.conflist/);
  t.regex(err[1]!, /network "netd": invalid range set 0: Network has host bits set/);
});

test('weft gc removes what a crash left empty, and says so', async (t) => {
  const {run, dataDir} = makeMachine(t);
  const dry = await run(gc, 'neta', '--dry-run');
  t.deepEqual(dry.out, ['would remove 10.1.2.5: empty, left by a crash', 'would remove 1, kept 2']);
  t.true(readdirSync(join(dataDir, 'neta')).includes('10.1.2.5'));
  const {out} = await run(gc, 'neta');
  t.deepEqual(out, ['removed 10.1.2.5: empty, left by a crash', 'removed 1, kept 2']);
  t.false(readdirSync(join(dataDir, 'neta')).includes('10.1.2.5'));
  t.deepEqual((await run(gc, 'neta')).out, ['removed 0, kept 2']);
});

test('weft gc takes one network that there is', async (t) => {
  const {run, cacheDir} = makeMachine(t);
  await t.throwsAsync(run(gc), {message: 'it takes one network'});
  await t.throwsAsync(run(gc, 'nonet'), {
    message: 'there is no network "nonet" with addresses from host-local',
  });
  await t.throwsAsync(run(gc, 'neta', '--unlisted', '--cache-dir', cacheDir), {
    message: /without the runtime's cache/,
  });
});

test('what of this boot is collected only on request, and not while it may be new', async (t) => {
  const {open} = makeStore(t);
  await open((store) => {
    for (const last of [2, 3, 4, 5]) store.reserve({ip: ip(`10.1.2.${last}`), holder: holder(`c${last}`)});
    const reclaimer = {
      isReclaimable: (address: typeof ip extends (text: string) => infer T ? T : never) =>
        formatIp(address) === '10.1.2.2',
      isAlive: (reservation: {readonly ip: ReturnType<typeof ip>}) => formatIp(reservation.ip) === '10.1.2.3',
    };
    const plan = (unlisted: boolean, minutes: number) => {
      const {
        stale,
        kept,
        unlisted: rest,
      } = planCollection(store, {reclaimer, unlisted, nowMs: Date.now() + minutes * 60_000});
      return [
        stale
          .map((each) => formatIp(each.ip))
          .toSorted()
          .join(' '),
        kept,
        rest,
      ];
    };
    t.deepEqual(plan(false, 60), ['10.1.2.2', 3, 2]);
    t.deepEqual(plan(true, 60), ['10.1.2.2 10.1.2.4 10.1.2.5', 1, 0]);
    t.deepEqual(plan(true, 1), ['10.1.2.2', 3, 0]);
  });
});
