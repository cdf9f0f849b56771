import {probeLinkKind, probeNftables, type Presence} from '../installation/kernel.ts';
import {about, type Finding} from './finding.ts';

/** Kinds of links that plugins need, and for what; `required` ones are needed by every network. */
const kinds = [
  {kind: 'veth', module: 'veth', use: 'every container needs a veth pair', required: true},
  {kind: 'bridge', module: 'bridge', use: 'the plugin bridge needs one', required: true},
  {kind: 'vxlan', module: 'vxlan', use: 'the overlay needs one', required: false},
  {kind: 'ifb', module: 'ifb', use: 'bandwidth limits what a container sends with one', required: false},
  {kind: 'vlan', module: '8021q', use: 'vlan and vlanTrunk of bridge need it', required: false},
] as const;

/** Whether the kernel has what the plugins ask it for. Nothing is made. */
export async function checkKernelFeatures(): Promise<readonly Finding[]> {
  const {ok, warning, problem} = about('kernel');
  const links = await Promise.all(
    kinds.map(async (each) => ({...each, presence: await probeLinkKind(each.kind)})),
  );
  const nftables = await probeNftables();
  const missing = links.filter(({presence}) => presence === 'absent');
  const findings = missing.map(({kind, module, use, required}) => {
    const remedy = `modprobe ${module}; where there is no such module, boot a kernel built with it`;
    const message = `the kernel has no ${kind} links: ${use}`;
    return required ? problem(message, remedy) : warning(message, remedy);
  });
  if (isUnknown(nftables) || links.some(({presence}) => isUnknown(presence))) {
    findings.push(
      problem('the kernel refuses to say what it has', 'run `weft doctor` as root, with CAP_NET_ADMIN'),
    );
  }
  if (nftables === 'absent') {
    findings.push(
      problem(
        'the kernel has no nftables: masquerade, ports and firewall rules cannot be made',
        'modprobe nf_tables',
      ),
    );
  }
  const asked = [...links, {kind: 'nftables', presence: nftables}];
  const present = asked.filter(({presence}) => presence === 'present').map(({kind}) => kind);
  return [...findings, ...(present.length > 0 ? [ok(`it has ${present.join(', ')}`)] : [])];
}

const isUnknown = (presence: Presence) => presence === 'unknown';
