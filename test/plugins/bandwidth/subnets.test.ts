import test from 'ava';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {diffFilters} from '../../../plugins/bandwidth/filters.ts';
import {planFilters, planSubnetFilters, type PlannedFilter} from '../../../plugins/bandwidth/subnets.ts';

const subnets = (...texts: string[]) => texts.map((text) => parseCidr(text)!);

/** "1 800 0a000000/ff000000@16 limited" */
function show(filters: readonly PlannedFilter[]): string[] {
  return filters.map(({priority, protocol, match, limited}) => {
    const hex = (value: number) => value.toString(16).padStart(8, '0');
    const keys = match.keys.map(({mask, value, offset}) => `${hex(value)}/${hex(mask)}@${offset}`);
    return `${priority} ${protocol.toString(16)} ${keys.join('+')} ${limited ? 'limited' : 'free'}`;
  });
}

test('without subnets one filter limits everything, as the reference does', (t) => {
  t.deepEqual(show(planFilters({kind: 'all'}, 'destination')), ['1 3 00000000/00000000@0 limited']);
  t.deepEqual(planSubnetFilters({kind: 'all'}, 'source'), []);
});

test('shapedSubnets: only these', (t) => {
  const selection = {kind: 'only', subnets: subnets('10.0.0.0/9', '192.0.2.7/32', '2001:db8::/33')} as const;
  t.deepEqual(show(planFilters(selection, 'destination')), [
    '1 800 0a000000/ff800000@16 limited',
    '1 800 c0000207/ffffffff@16 limited',
    '2 86dd 20010db8/ffffffff@24+00000000/80000000@28 limited',
  ]);
  t.deepEqual(show(planSubnetFilters(selection, 'source')), [
    '1 800 0a000000/ff800000@12 limited',
    '1 800 c0000207/ffffffff@12 limited',
    '2 86dd 20010db8/ffffffff@8+00000000/80000000@12 limited',
  ]);
});

test('unshapedSubnets: everything but these', (t) => {
  const selection = {kind: 'except', subnets: subnets('0.0.0.0/0', '2001:db8::1/128')} as const;
  const word = (value: string, at: number) => `${value}/ffffffff@${at}`;
  const address = [word('20010db8', 24), word('00000000', 28), word('00000000', 32), word('00000001', 36)];
  t.deepEqual(show(planFilters(selection, 'destination')), [
    '1 800 00000000/00000000@0 free',
    `2 86dd ${address.join('+')} free`,
    '3 3 00000000/00000000@0 limited',
  ]);
});

test('filters that are missing and filters that are too many are told apart', (t) => {
  const [a, b] = planFilters({kind: 'only', subnets: subnets('10.0.0.0/8', '10.0.0.0/8')}, 'source');
  t.deepEqual(diffFilters([a!, b!], [b!, a!], 'it'), []);
  t.deepEqual(diffFilters([a!, b!], [a!, {strange: 'bpf of priority 1'}], 'it'), [
    'filter missing on it: u32 of priority 1, protocol 800: match 0a000000/ff000000 at 12, limited',
    'filter too many on it: bpf of priority 1',
  ]);
});
