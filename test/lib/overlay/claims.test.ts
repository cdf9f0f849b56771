import test from 'ava';
import {formatConflict, settleClaims} from '../../../lib/overlay/claims.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import {member, network} from './members.ts';

interface Case {
  readonly title: string;
  readonly peers: readonly Member[];
  readonly accepted: readonly string[];
  readonly sentences: readonly string[];
}

const cases: readonly Case[] = [
  {
    title: 'nothing claimed twice',
    peers: [member(2), member(3)],
    accepted: ['host-2', 'host-3'],
    sentences: [],
  },
  {
    title: 'one hardware address: whoever was first has it, in whatever order they come',
    peers: [member(3, {macs: member(2).macs}), member(2)],
    accepted: ['host-2'],
    sentences: ['host-3 claims the hardware address 02:00:00:00:04:02, which belongs to host-2'],
  },
  {
    title: 'one address in the underlay',
    peers: [member(2), {...member(3), underlay: member(2).underlay}],
    accepted: ['host-2'],
    sentences: ['host-3 claims the address 192.0.2.2, which belongs to host-2'],
  },
  {
    title: 'one subnet',
    peers: [member(2), member(3, {subnets: ['10.244.2.0/24']})],
    accepted: ['host-2'],
    sentences: ['host-3 claims the subnet 10.244.2.0/24, which belongs to host-2'],
  },
  {
    title: 'a subnet within another, the larger one first',
    peers: [member(2, {subnets: ['10.244.64.0/20']}), member(3, {subnets: ['10.244.66.0/24']})],
    accepted: ['host-2'],
    sentences: ['host-3 claims the subnet 10.244.66.0/24, which belongs to host-2'],
  },
  {
    title: 'a subnet around another, the smaller one first',
    peers: [member(2, {subnets: ['10.244.66.0/24']}), member(3, {subnets: ['10.244.64.0/20']})],
    accepted: ['host-2'],
    sentences: ['host-3 claims the subnet 10.244.64.0/20, which belongs to host-2'],
  },
  {
    title: 'side by side is no overlap',
    peers: [member(2, {subnets: ['10.244.64.0/20']}), member(3, {subnets: ['10.244.80.0/24']})],
    accepted: ['host-2', 'host-3'],
    sentences: [],
  },
  {
    title: 'what is not a part of the network: all addresses there are, or a neighbour of ours',
    peers: [member(2, {subnets: ['0.0.0.0/0']}), member(3, {subnets: ['192.168.0.0/24']})],
    accepted: [],
    sentences: [
      'host-2 claims 0.0.0.0/0, which is not a part of the network',
      'host-3 claims 192.168.0.0/24, which is not a part of the network',
    ],
  },
  {
    title: 'this host keeps what is its own, though another was first',
    peers: [member(2, {subnets: ['10.244.1.0/24'], seniority: 0})],
    accepted: [],
    sentences: ['host-2 claims the subnet 10.244.1.0/24, which belongs to host-1'],
  },
  {
    title: 'who does not say when it came, came last; two such by name',
    peers: [
      member(4, {macs: member(2).macs, seniority: undefined}),
      member(3, {macs: member(2).macs, seniority: undefined}),
      member(2),
    ],
    accepted: ['host-2'],
    sentences: [
      'host-3 claims the hardware address 02:00:00:00:04:02, which belongs to host-2',
      'host-4 claims the hardware address 02:00:00:00:04:02, which belongs to host-2',
    ],
  },
  {
    title: 'what a refused peer claims beside is free',
    peers: [member(2), member(3, {subnets: ['10.244.2.0/24']}), {...member(4), underlay: member(3).underlay}],
    accepted: ['host-2', 'host-4'],
    sentences: ['host-3 claims the subnet 10.244.2.0/24, which belongs to host-2'],
  },
  {title: 'our own record among the peers is none of them', peers: [member(1)], accepted: [], sentences: []},
];

for (const {title, peers, accepted, sentences} of cases) {
  test(title, (t) => {
    const result = settleClaims(network(), member(1), peers);
    t.deepEqual(
      result.peers.map(({id}) => id),
      [...accepted],
    );
    t.deepEqual(result.conflicts.map(formatConflict), [...sentences]);
  });
}
