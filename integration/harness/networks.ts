/** A bridge network as most nodes have one: dual stack, gateway on the bridge, masqueraded. */
export function bridgeNetwork({
  name,
  cniVersion = '1.0.0',
  ...rest
}: {readonly name: string; readonly cniVersion?: string} & Readonly<Record<string, unknown>>) {
  return {
    cniVersion,
    name,
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    ipam: {
      type: 'host-local',
      ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]],
      routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
    },
    ...rest,
  };
}
