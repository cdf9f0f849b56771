import {parseIp} from '../../lib/ip/address.ts';
import type {KnownLinkInfo} from '../../lib/netlink/link/kinds.ts';

interface Sample {
  /** The command in captures.txt that makes the same link. */
  readonly command: string;
  readonly info: KnownLinkInfo;
  /** The link stands on another one, called "below". */
  readonly onLink?: boolean;
}

/** One link of every kind that lib/netlink/link/kinds.ts has; the type check asks for a new kind's. */
export const samples: {readonly [K in KnownLinkInfo['kind']]: Sample} = {
  bridge: {
    command:
      'ip link add br0 mtu 1450 type bridge stp_state 0 forward_delay 200 ageing_time 30000 vlan_filtering 0 mcast_snooping 1 vlan_default_pvid 1',
    info: {
      kind: 'bridge',
      data: {
        forwardDelay: 200,
        ageingTime: 30_000,
        stpState: 0,
        vlanFiltering: false,
        mcastSnooping: true,
        vlanDefaultPvid: 1,
      },
    },
  },
  dummy: {command: 'ip link add dummy0 type dummy', info: {kind: 'dummy'}},
  ifb: {command: 'ip link add ifb9 type ifb', info: {kind: 'ifb'}},
  veth: {
    command:
      'ip link add veth2 address 02:00:00:00:00:02 mtu 1400 type veth peer name veth3 address 02:00:00:00:00:03 mtu 1300',
    info: {kind: 'veth', data: {peer: {name: 'veth3', mac: '02:00:00:00:00:03', mtu: 1300}}},
  },
  vlan: {
    command: 'ip link add link veth0 name veth0.7 type vlan id 7 protocol 802.1Q',
    info: {kind: 'vlan', data: {id: 7, protocol: 0x8100}},
    onLink: true,
  },
  vxlan: {
    command:
      'ip link add vx6 type vxlan id 16777215 local fd00:1::3 dstport 4789 srcport 32768 61000 learning proxy l2miss l3miss ttl 64 tos inherit ageing 60 maxaddress 100 flowlabel 5 noudp6zerocsumtx udp6zerocsumrx gbp',
    info: {
      kind: 'vxlan',
      data: {
        portRange: {low: 32_768, high: 61_000},
        proxy: true,
        l2miss: true,
        l3miss: true,
        ttl: 64,
        tos: 1,
        ageing: 60,
        limit: 100,
        label: 5,
        udpZeroChecksum6Tx: false,
        udpZeroChecksum6Rx: true,
        gbp: true,
        id: 16_777_215,
        local6: parseIp('fd00:1::3')!,
        learning: true,
        port: 4789,
      },
    },
  },
  wireguard: {command: 'ip link add wg0 type wireguard', info: {kind: 'wireguard'}},
};
