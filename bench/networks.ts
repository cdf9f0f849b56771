import type {Conflist} from '../integration/harness/chain.ts';

// Spec 1.0.0 is the newest that Debian's plugins know; STATUS came with 1.1.0.
const cniVersion = '1.0.0';

interface Bridge {
  readonly name: string;
  readonly bridge: string;
  readonly subnets: readonly string[];
  readonly ipMasq: boolean;
}

function bridgeNetwork({name, bridge, subnets, ipMasq}: Bridge): Conflist {
  const routes = subnets.map((subnet) => ({dst: subnet.includes(':') ? '::/0' : '0.0.0.0/0'}));
  const ipam = {type: 'host-local', ranges: subnets.map((subnet) => [{subnet}]), routes};
  return {cniVersion, name, plugins: [{type: 'bridge', bridge, isGateway: true, ipMasq, ipam}]};
}

const withMasq = bridgeNetwork({
  name: 'bench-masq',
  bridge: 'bench1',
  subnets: ['10.51.0.0/16'],
  ipMasq: true,
});

/** The networks that calls are measured on, by the name of the case. */
export const networks = {
  plain: bridgeNetwork({name: 'bench-plain', bridge: 'bench0', subnets: ['10.50.0.0/16'], ipMasq: false}),
  masq: withMasq,
  dual: bridgeNetwork({
    name: 'bench-dual',
    bridge: 'bench2',
    subnets: ['10.52.0.0/16', 'fd00:52::/64'],
    ipMasq: true,
  }),
  ports: {
    cniVersion,
    name: 'bench-ports',
    plugins: [
      bridgeNetwork({name: '', bridge: 'bench3', subnets: ['10.53.0.0/16'], ipMasq: true}).plugins[0]!,
      {type: 'portmap', capabilities: {portMappings: true}},
      {type: 'firewall'},
    ],
  },
} as const satisfies Record<string, Conflist>;

/** The same network, of the version that has STATUS. */
export const statusNetwork: Conflist = {...networks.plain, cniVersion: '1.1.0'};

/** Several networks that share out the containers of a full node: a bridge takes no more than 1,023. */
export const manyNetworks: readonly Conflist[] = [0, 1, 2, 3, 4].map((i) =>
  bridgeNetwork({name: `bench-many${i}`, bridge: `many${i}`, subnets: [`10.${60 + i}.0.0/16`], ipMasq: true}),
);

/** The one whose container comes and goes while the others are there. */
export const comingNetwork: Conflist = manyNetworks[0]!;
