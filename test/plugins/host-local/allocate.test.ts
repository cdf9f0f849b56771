import test from 'ava';
import {formatIp, ipFromValue, parseIp} from '../../../lib/ip/address.ts';
import type {Ip} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {chooseAddress} from '../../../plugins/host-local/allocate.ts';
import {planRangeSets} from '../../../plugins/host-local/range.ts';

/** "10.0.0.0/29 2-5 gw 3" → a range of 10.0.0.2 to 10.0.0.5 */
function range(text: string) {
  const [, subnet, start, end, gateway] = /^(\S+) (\d+)-(\d+) gw (\d+)$/.exec(text)!;
  const at = (last: string) => parseIp(subnet!.replace(/\d+\/.*$/, last))!;
  return {subnet: parseCidr(subnet!)!, rangeStart: at(start!), rangeEnd: at(end!), gateway: at(gateway!)};
}

/** The last numbers of the addresses that are given one after the other, until nothing is left. */
function order(ranges: readonly string[], last: string | undefined, taken: readonly string[] = []): string {
  const [set] = planRangeSets([ranges.map(range)]);
  const used = new Set(taken);
  const nextFree = (from: Ip, to: Ip) => {
    for (let value = from.value; value <= to.value; value++) {
      const ip = ipFromValue(4, value);
      if (!used.has(formatIp(ip))) return ip;
    }
    return undefined;
  };
  const given: string[] = [];
  let lastIp = last === undefined ? undefined : parseIp(last)!;
  for (;;) {
    const choice = chooseAddress(set!, lastIp, nextFree);
    if (!choice) return given.join(' ');
    used.add(formatIp(choice.ip));
    given.push(formatIp(choice.ip).replace('10.0.', ''));
    lastIp = choice.ip;
  }
}

const gives = test.macro(
  (t, ranges: readonly string[], last: string | undefined, taken: readonly string[], expected: string) => {
    t.is(order(ranges, last, taken), expected);
  },
);

test(
  'begins at the start of the first range',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  undefined,
  [],
  '0.2 0.3 0.4 0.5 0.6',
);
test(
  'goes on behind the last one, which comes at the very end',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  '10.0.0.4',
  [],
  '0.5 0.6 0.2 0.3 0.4',
);
test(
  'wraps from the end of the range',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  '10.0.0.6',
  [],
  '0.2 0.3 0.4 0.5 0.6',
);
test(
  'passes over what is taken',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  '10.0.0.3',
  ['10.0.0.4', '10.0.0.6'],
  '0.5 0.2 0.3',
);
test(
  'a last one outside of the range is forgotten',
  gives,
  ['10.0.0.0/28 4-6 gw 1'],
  '10.0.0.9',
  [],
  '0.4 0.5 0.6',
);
test(
  'a last one of another network is forgotten',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  '10.9.9.9',
  [],
  '0.2 0.3 0.4 0.5 0.6',
);
test(
  'a last one of the other family is forgotten',
  gives,
  ['10.0.0.0/29 1-6 gw 1'],
  '::5',
  [],
  '0.2 0.3 0.4 0.5 0.6',
);
test(
  'the gateway is passed over in the middle',
  gives,
  ['10.0.0.0/29 1-6 gw 3'],
  '10.0.0.2',
  [],
  '0.4 0.5 0.6 0.1 0.2',
);
test(
  'the gateway is passed over behind the last one',
  gives,
  ['10.0.0.0/29 1-6 gw 6'],
  '10.0.0.5',
  [],
  '0.1 0.2 0.3 0.4 0.5',
);
test(
  'a last one that is the gateway today still counts',
  gives,
  ['10.0.0.0/29 1-6 gw 3'],
  '10.0.0.3',
  [],
  '0.4 0.5 0.6 0.1 0.2',
);
test(
  'goes through the ranges of a set in their order and back to the first',
  gives,
  ['10.0.0.0/29 1-6 gw 1', '10.0.1.0/29 2-3 gw 1', '10.0.2.0/29 5-6 gw 1'],
  '10.0.1.2',
  [],
  '1.3 2.5 2.6 0.2 0.3 0.4 0.5 0.6 1.2',
);
test(
  "only its own range's gateway is passed over",
  gives,
  ['10.0.0.0/28 1-3 gw 5', '10.0.0.0/28 4-6 gw 2'],
  undefined,
  [],
  '0.1 0.2 0.3 0.4 0.5 0.6',
);
test('a range of nothing but its gateway gives nothing', gives, ['10.0.0.0/30 1-1 gw 1'], undefined, [], '');
test('one address is given again and again', gives, ['10.0.0.0/30 2-2 gw 1'], '10.0.0.2', [], '0.2');
