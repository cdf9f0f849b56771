import test from 'ava';
import {formatIp} from '../../../lib/ip/address.ts';
import {buildIndex, Index, memoryBytes} from '../../../lib/store/index.ts';
import {ip, texts} from './helpers.ts';

/** Numbers that look random and are the same in each run. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; state = (Math.imul(state, 1664525) + 1013904223) >>> 0) yield state;
}

test('behaves as a plain map does, through any sequence of changes', (t) => {
  const random = numbers(20261120);
  const next = (below: number) => random.next().value % below;
  const model = new Map<string, string>();
  let index = new Index(memoryBytes(buildIndex([])));
  for (let step = 0; step < 4000; step++) {
    const address =
      next(4) === 0 ? `fd00::${next(6)}:${(next(600) + 1).toString(16)}` : `10.0.${next(4)}.${next(256)}`;
    const holder = model.get(address);
    if (holder === undefined) {
      const added = `c${next(500)}\r\neth${next(3)}`;
      index.add({ip: ip(address), holder: added});
      model.set(address, added);
    } else if (next(3) > 0) {
      index.remove({ip: ip(address), holder});
      model.delete(address);
    }
    if (index.isWorn)
      index = new Index(
        memoryBytes(buildIndex([...model].map(([key, value]) => ({ip: ip(key), holder: value})))),
      );
  }
  const byHolder = Map.groupBy(model.keys(), (address) => model.get(address)!);
  for (const [holder, addresses] of byHolder)
    t.deepEqual(texts(index.find(holder)), addresses.map((each) => formatIp(ip(each))).toSorted());
  for (const [from, to] of [
    ['10.0.0.0', '10.0.3.255'],
    ['10.0.1.7', '10.0.1.9'],
    ['fd00::', 'fd00::ffff:ffff'],
  ] as const) {
    const inside = [...model.keys()]
      .map(ip)
      .filter(
        (each) =>
          from.includes(':') === formatIp(each).includes(':') &&
          each.value >= ip(from).value &&
          each.value <= ip(to).value,
      );
    t.is(index.countUsed(ip(from), ip(to)), inside.length);
    t.deepEqual(texts(index.listUsed(ip(from), ip(to))), texts(inside));
    let free = ip(from).value;
    while (inside.some((each) => each.value === free)) free++;
    t.is(index.nextFree(ip(from), ip(to))?.value, free > ip(to).value ? undefined : free);
  }
  t.is(index.countAll(), model.size);
});

test('the first free address is found across full pages', (t) => {
  const entries = Array.from({length: 2000}, (_, i) => ({
    ip: ip(`10.0.${i >> 8}.${i & 255}`),
    holder: `c${i}`,
  }));
  const index = new Index(memoryBytes(buildIndex(entries)));
  t.is(index.nextFree(ip('10.0.0.0'), ip('10.0.255.255'))?.toString(), '10.0.7.208');
  t.is(index.nextFree(ip('10.0.0.0'), ip('10.0.7.207')), undefined);
  index.remove({ip: ip('10.0.3.255'), holder: 'c1023'});
  t.is(index.nextFree(ip('10.0.0.0'), ip('10.0.255.255'))?.toString(), '10.0.3.255');
});

test('an address without a holder is in use, and nobody’s', (t) => {
  const index = new Index(
    memoryBytes(buildIndex([{ip: ip('10.0.0.2')}, {ip: ip('10.0.0.3'), holder: 'c3'}])),
  );
  t.is(index.nextFree(ip('10.0.0.2'), ip('10.0.0.9'))?.toString(), '10.0.0.4');
  t.deepEqual(texts(index.listOthers([])), ['10.0.0.3']);
  t.deepEqual(index.listOthers(['c3']), []);
});
