import {readFileSync} from 'node:fs';
import {errnoOf, errnoText} from '../errno.ts';
import {familyOf, type Family} from '../ip/address.ts';
import {formatCidr, parseCidr, type Cidr} from '../ip/cidr.ts';

/** Where flanneld writes its file, and our agent by default. */
export const defaultSubnetFile = '/run/flannel/subnet.env';

/** What an agent tells the CNI plugin of this host, in flannel's words. */
export interface SubnetFile {
  /** FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK: the ranges of the whole overlay. */
  readonly networks: readonly Cidr[];
  /** FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET: this host's, with the address of its gateway. At most one per family. */
  readonly subnets: readonly Cidr[];
  /** FLANNEL_MTU: of containers' interfaces. */
  readonly mtu: number;
  /** FLANNEL_IPMASQ: whether the agent masquerades; the CNI plugin does otherwise. */
  readonly ipMasq: boolean;
}

const names: Readonly<Record<Family, {readonly network: string; readonly subnet: string}>> = {
  4: {network: 'FLANNEL_NETWORK', subnet: 'FLANNEL_SUBNET'},
  6: {network: 'FLANNEL_IPV6_NETWORK', subnet: 'FLANNEL_IPV6_SUBNET'},
};

/** The file cannot be read; `isMissing` when that is because it is not there. */
export class SubnetFileError extends Error {
  override readonly name = 'SubnetFileError';
  readonly isMissing: boolean;

  constructor(message: string, {isMissing = false, cause}: {isMissing?: boolean; cause?: unknown} = {}) {
    super(message, {cause});
    this.isMissing = isMissing;
  }
}

/** Reads the file. Throws a SubnetFileError: flannel's sentences, with the name of the file. */
export function readSubnetFile(path: string): SubnetFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new SubnetFileError(`open ${path}: ${errnoText(errnoOf(cause) ?? 0)}`, {isMissing, cause});
  }
  return parseSubnetFile(text, path);
}

/**
 * Reads the text of a subnet file. As flannel does it: NAME=value by lines, unknown names are ignored, of a repeated one the last
 * counts. Beyond that it takes what a shell would: `export`, quotes, white space around, comments, CR LF.
 */
export function parseSubnetFile(text: string, path: string): SubnetFile {
  const values = readAssignments(text);
  const read = (name: string, isList: boolean): readonly Cidr[] => {
    const value = values.get(name) ?? '';
    if (value === '') return [];
    return (isList ? value.split(',') : [value]).map((each) => {
      const cidr = parseCidr(each.trim());
      if (cidr) return cidr;
      throw new SubnetFileError(`${path}: ${name}: invalid CIDR address: ${each.trim()}`);
    });
  };
  const networks = [...read(names[4].network, true), ...read(names[6].network, true)];
  const subnets = [...read(names[4].subnet, false), ...read(names[6].subnet, false)];
  const mtu = values.get('FLANNEL_MTU') ?? '';
  const ipMasq = values.get('FLANNEL_IPMASQ') ?? '';
  const missing = [
    ...(networks.length === 0 ? [names[4].network, names[6].network] : []),
    ...(subnets.length === 0 ? [names[4].subnet, names[6].subnet] : []),
    ...(mtu === '' ? ['FLANNEL_MTU'] : []),
    ...(ipMasq === '' ? ['FLANNEL_IPMASQ'] : []),
  ];
  if (missing.length > 0) throw new SubnetFileError(`${path} is missing ${missing.join(', ')}`);
  if (!/^\d{1,9}$/.test(mtu))
    throw new SubnetFileError(`${path}: FLANNEL_MTU: ${JSON.stringify(mtu)} is not a whole number`);
  return {networks, subnets, mtu: Number(mtu), ipMasq: ipMasq === 'true'};
}

function readAssignments(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const [, name, value] = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) values.set(name, unquote(value.trim()));
  }
  return values;
}

function unquote(value: string): string {
  const quoted = /^(["'])(.*?)\1/.exec(value)?.[2];
  return (quoted ?? value.replace(/\s+#.*$/, '')).trim();
}

/** The text of a subnet file, as flanneld writes it. */
export function formatSubnetFile({networks, subnets, mtu, ipMasq}: SubnetFile): string {
  const lines = ([4, 6] as const).flatMap((family) => {
    const of = (cidrs: readonly Cidr[]) =>
      cidrs
        .filter(({ip}) => familyOf(ip) === family)
        .map(formatCidr)
        .join(',');
    return [`${names[family].network}=${of(networks)}`, `${names[family].subnet}=${of(subnets)}`];
  });
  const filled = lines.filter((line) => !line.endsWith('='));
  return [...filled, `FLANNEL_MTU=${mtu}`, `FLANNEL_IPMASQ=${String(ipMasq)}`, ''].join('\n');
}
