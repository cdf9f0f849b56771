import {execFileSync} from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {withStore} from '../../../lib/store/store.ts';
import {holder, ip, makeStore, texts} from './helpers.ts';

/** A store with addresses .2 to .4 reserved by c2 to c4 and a valid index. */
async function filledStore(t: ExecutionContext) {
  const made = makeStore(t);
  await made.open((store) => {
    for (const last of [2, 3, 4]) store.reserve({ip: ip(`10.1.2.${last}`), holder: holder(`c${last}`)});
  });
  return {...made, path: (name: string) => join(made.directory, name)};
}

const isFromIndex = (made: Awaited<ReturnType<typeof filledStore>>) =>
  made.open((store) => {
    store.find(holder('nobody'));
    return !store.isFresh;
  });

test('writes what the Go plugin writes', async (t) => {
  const {open, directory} = makeStore(t);
  await open((store) => {
    t.true(store.reserve({ip: ip('10.1.2.2'), holder: holder('c1')}));
    t.true(store.reserve({ip: ip('2001:DB8::2'), holder: holder('c1')}));
    store.writeLastReserved(0, ip('10.1.2.2'));
  });
  t.deepEqual(readdirSync(directory).toSorted(), ['10.1.2.2', '2001:db8::2', 'last_reserved_ip.0', 'lock']);
  t.is(readFileSync(join(directory, '10.1.2.2'), 'utf8'), 'c1\r\neth0');
  t.is(readFileSync(join(directory, 'last_reserved_ip.0'), 'utf8'), '10.1.2.2');
  const mode = (name: string) => statSync(join(directory, name)).mode & 0o777;
  t.deepEqual(['10.1.2.2', 'last_reserved_ip.0', 'lock'].map(mode), [0o600, 0o600, 0o750]);
});

test('an address is reserved once', async (t) => {
  const {open} = await filledStore(t);
  await open((store) => {
    t.false(store.reserve({ip: ip('10.1.2.2'), holder: holder('other')}));
    t.deepEqual(store.findHolder(ip('10.1.2.2')), holder('c2'));
  });
});

test('releases only what is the holder’s', async (t) => {
  const {open, path} = await filledStore(t);
  await open((store) => {
    t.false(store.release({ip: ip('10.1.2.2'), holder: holder('c3')}));
    t.deepEqual(texts(store.releaseAll(holder('c2'))), ['10.1.2.2']);
    t.deepEqual(store.releaseAll(holder('c2')), []);
  });
  t.false(existsSync(path('10.1.2.2')));
});

test('a call without changes opens no reservation when the index is valid', async (t) => {
  const made = await filledStore(t);
  t.true(await isFromIndex(made));
  t.true(await isFromIndex(made));
});

test('a call that changes something leaves a valid index', async (t) => {
  const made = await filledStore(t);
  await made.open((store) => store.releaseAll(holder('c2')));
  t.true(await isFromIndex(made));
  await made.open((store) => store.reserve({ip: ip('10.1.2.3'), holder: holder('refused')}));
  t.true(await isFromIndex(made));
  await made.open((store) => t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.9'))?.toString(), '10.1.2.2'));
});

// Each runs at once after our own change, well within one tick of the kernel's clock.
const foreignChanges: Readonly<Record<string, (path: (name: string) => string) => void>> = {
  'a new reservation': (path) => writeFileSync(path('10.1.2.9'), 'c9\r\neth0', {flag: 'wx'}),
  'a removed one': (path) => unlinkSync(path('10.1.2.3')),
  'one that was removed and made again': (path) => {
    unlinkSync(path('10.1.2.3'));
    writeFileSync(path('10.1.2.3'), 'c9\r\neth0', {flag: 'wx'});
  },
  'one that an editor wrote anew': (path) => {
    writeFileSync(path('tmp'), 'c9\r\neth0');
    renameSync(path('tmp'), path('10.1.2.3'));
  },
  'one that was created and removed': (path) => {
    writeFileSync(path('10.1.2.9'), 'c9\r\neth0', {flag: 'wx'});
    unlinkSync(path('10.1.2.9'));
  },
};

for (const [what, change] of Object.entries(foreignChanges)) {
  test(`the index does not outlive ${what} by somebody else`, async (t) => {
    const made = await filledStore(t);
    for (let i = 0; i < 20; i++) {
      await made.open((store) => {
        store.releaseAll(holder('c9'));
        store.releaseAll(holder('c3'));
        store.reserve({ip: ip('10.1.2.3'), holder: holder('c3')});
      });
      change(made.path);
      const names = readdirSync(made.directory).filter((name) => name.startsWith('10.'));
      await made.open((store) => {
        const others = store.listOthers([]);
        t.true(store.isFresh);
        t.deepEqual(texts(others.map((each) => each.ip)), names.toSorted());
        for (const each of others) {
          t.is(
            `${each.holder.containerId}\r\n${each.holder.ifName}`,
            readFileSync(made.path(each.ip.toString()), 'utf8'),
          );
        }
      });
    }
  });
}

test('the index does not outlive a directory that was made anew', async (t) => {
  const made = await filledStore(t);
  rmSync(made.directory, {recursive: true});
  await made.open((store) => {
    t.deepEqual(store.listOthers([]), []);
    t.true(store.reserve({ip: ip('10.1.2.2'), holder: holder('c1')}));
  });
});

test('the index does not outlive somebody else’s setting of the same time', async (t) => {
  const made = await filledStore(t);
  const {mtimeMs} = statSync(made.directory);
  writeFileSync(made.path('10.1.2.9'), 'c9\r\neth0');
  utimesSync(made.directory, mtimeMs / 1000, mtimeMs / 1000);
  t.false(await isFromIndex(made));
});

test('a file that was written over in place is not removed on the index’s word', async (t) => {
  const made = await filledStore(t);
  writeFileSync(made.path('10.1.2.3'), 'c9\r\neth0');
  await made.open((store) => t.deepEqual(store.releaseAll(holder('c3')), []));
  t.true(existsSync(made.path('10.1.2.3')));
  await made.open((store) =>
    t.deepEqual(texts(store.releaseAll(holder('c9'))), ['10.1.2.3'], 'it was read again'),
  );
});

test('before saying that nothing is left, the names are compared', async (t) => {
  const made = await filledStore(t);
  await made.open((store) => {
    t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.4')), undefined);
    // By somebody who does not take the lock, in the moment before the index is saved.
    store.releaseAll(holder('c2'));
    store.reserve({ip: ip('10.1.2.2'), holder: holder('c2')});
    unlinkSync(made.path('10.1.2.3'));
  });
  await made.open((store) => {
    t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.4')), undefined, 'the index cannot know');
    store.refreshIfStale();
    t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.4'))?.toString(), '10.1.2.3');
  });
});

test('a reservation that the index does not know of is never written over', async (t) => {
  const made = await filledStore(t);
  await made.open((store) => {
    store.releaseAll(holder('c4'));
    writeFileSync(made.path('10.1.2.4'), 'c9\r\neth0');
    t.false(store.reserve({ip: ip('10.1.2.4'), holder: holder('c1')}));
    t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.9'))?.toString(), '10.1.2.5');
  });
});

test('a link to nowhere is in the way, and no reason to try for ever', async (t) => {
  const made = await filledStore(t);
  symlinkSync('/no/such/file', made.path('10.1.2.5'));
  await made.open((store) => {
    t.false(store.reserve({ip: ip('10.1.2.5'), holder: holder('c1')}));
    t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.9'))?.toString(), '10.1.2.6');
  });
});

test('what a kill left of a reservation goes, and nothing is written through it', async (t) => {
  const made = await filledStore(t);
  // Killed between the two steps: both names are of one file.
  linkSync(made.path('10.1.2.2'), made.path('.weft-new'));
  await made.open((store) => store.reserve({ip: ip('10.1.2.5'), holder: holder('a-longer-name')}));
  t.is(readFileSync(made.path('10.1.2.2'), 'utf8'), 'c2\r\neth0');
  writeFileSync(made.path('.weft-new'), 'half');
  await made.open((store) => t.deepEqual(texts(store.find(holder('c2'))), ['10.1.2.2']));
  t.false(existsSync(made.path('.weft-new')), 'with the next call that reads the directory');
});

for (const [what, spoil] of Object.entries({
  'cut short': (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 200)),
  empty: (file: string) => writeFileSync(file, ''),
  'of another version': (file: string) =>
    writeFileSync(file, Buffer.concat([Buffer.from('weftidx0'), readFileSync(file).subarray(8)])),
  gone: (file: string) => rmSync(file),
  'full of zeros': (file: string) => writeFileSync(file, Buffer.alloc(statSync(file).size)),
})) {
  test(`an index that is ${what} is made again`, async (t) => {
    const made = await filledStore(t);
    const [name] = readdirSync(made.indexDir);
    spoil(join(made.indexDir, name!));
    await made.open((store) => {
      t.deepEqual(texts(store.find(holder('c3'))), ['10.1.2.3']);
      t.is(store.nextFree(ip('10.1.2.2'), ip('10.1.2.9'))?.toString(), '10.1.2.5');
    });
    t.true(await isFromIndex(made));
  });
}

test('works where no index can be kept', async (t) => {
  const {open} = makeStore(t, {indexDir: '/proc/no/such/place'});
  await open((store) => store.reserve({ip: ip('10.1.2.2'), holder: holder('c1')}));
  await open((store) => {
    t.deepEqual(texts(store.find(holder('c1'))), ['10.1.2.2']);
    t.true(store.isFresh);
  });
});

test('many reservations, in any order, of both families', async (t) => {
  const made = makeStore(t);
  const addresses = Array.from({length: 1500}, (_, i) =>
    i % 3 === 0
      ? `2001:db8::${(i % 11).toString(16)}:${((i * 7919) % 65536).toString(16)}`
      : `10.${i % 7}.${(i * 31) % 256}.${i % 251}`,
  );
  const unique = [...new Set(addresses)];
  await made.open((store) => {
    for (const each of unique) t.true(store.reserve({ip: ip(each), holder: holder(`c-${each}`)}));
  });
  await made.open((store) => {
    for (const each of unique.slice(0, 700)) store.releaseAll(holder(`c-${each}`));
  });
  t.true(await isFromIndex({...made, path: String}));
  const rest = unique.slice(700);
  await made.open((store) => {
    for (const each of rest) t.is(store.find(holder(`c-${each}`)).length, 1);
    t.is(
      store.countUsed(ip('10.0.0.0'), ip('10.255.255.255')),
      rest.filter((each) => each.startsWith('10.')).length,
    );
    t.is(store.countUsed(ip('2001::'), ip('2002::')), rest.filter((each) => each.includes(':')).length);
    t.false(store.isFresh);
  });
});

test('without `create`, a network that is not there is not made', async (t) => {
  const {open, directory} = makeStore(t, {create: false});
  t.is(await open(() => 1), undefined as never);
  t.false(existsSync(directory));
});

test('errors name the path and the remedy', async (t) => {
  const {root, open} = makeStore(t);
  mkdirSync(join(root, 'net1'));
  mkdirSync(join(root, 'net1/.weft-new'));
  const error = await t.throwsAsync(
    open((store) => store.reserve({ip: ip('10.1.2.2'), holder: holder('c1')})),
    {instanceOf: CniError},
  );
  t.is(error.code, 5);
  t.true(error.message.startsWith(`cannot write a reservation to ${join(root, 'net1')}: `));
});

test('a data directory that is a file', async (t) => {
  const {root, open} = makeStore(t);
  writeFileSync(join(root, 'net1'), '');
  const error = await t.throwsAsync(
    open(() => 1),
    {instanceOf: CniError},
  );
  t.regex(error.message, /^cannot open .*net1\/lock: not a directory$/);
});

test('a data directory that cannot be written', async (t) => {
  const {root, options} = makeStore(t);
  chmodSync(root, 0o555);
  const isRoot = process.geteuid!() === 0;
  if (isRoot) process.seteuid!(65534);
  // The directory is made before anything is waited for.
  const opened = withStore(options, () => 1);
  if (isRoot) process.seteuid!(0);
  const error = await t.throwsAsync(opened, {instanceOf: CniError});
  chmodSync(root, 0o700);
  t.is(error.message, `cannot create ${join(root, 'net1')}: permission denied`);
  t.regex(error.details, /ipam\.dataDir/);
});

test('a pipe among the reservations holds nobody up: it is an empty file', async (t) => {
  const {open, directory} = makeStore(t);
  mkdirSync(directory);
  execFileSync('mkfifo', [join(directory, '10.1.2.2')]);
  t.true(await open((store) => store.reserve({ip: ip('10.1.2.2'), holder: holder('c1')})));
  t.is(readFileSync(join(directory, '10.1.2.2'), 'utf8'), 'c1\r\neth0');
});
