import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {NetlinkError, isUnsupported} from '../../lib/netlink/error.ts';

/** What of the kernel the plugin needs, with the modules that bring it. */
const features = {
  ifb: {text: 'ifb devices, which limits of what a container sends need', modules: 'ifb'},
  tbf: {text: 'the qdisc tbf', modules: 'sch_tbf'},
  htb: {text: 'the qdisc htb, which shapedSubnets and unshapedSubnets need', modules: 'sch_htb'},
  bfifo: {text: 'the qdisc bfifo', modules: 'sch_fifo'},
  ingress: {text: 'the qdisc ingress, which limits of what a container sends need', modules: 'sch_ingress'},
  u32: {text: 'u32 filters with mirred actions', modules: 'cls_u32 act_mirred'},
} as const;

export type Feature = keyof typeof features;

/** What the kernel says to something it has no module for: links EOPNOTSUPP, traffic control ENOENT. */
export function isMissing(error: unknown, feature: Feature): boolean {
  if (isUnsupported(error)) return true;
  return feature !== 'ifb' && error instanceof NetlinkError && error.code === 'ENOENT';
}

/** The error that names the feature and the remedy; `undefined` if that is not what is wrong. */
export function missingFeature(error: unknown, feature: Feature, code?: number): CniError | undefined {
  if (!isMissing(error, feature)) return undefined;
  const {text, modules} = features[feature];
  return new CniError(
    code ?? errorCodes.internal,
    `the kernel has no support for ${text}`,
    `load the module${modules.includes(' ') ? 's' : ''}: modprobe ${modules.includes(' ') ? '-a ' : ''}${modules}`,
  );
}
