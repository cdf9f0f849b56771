import type {Family} from '../ip/address.ts';

/** Tells the administrator what the rule is for. */
export const admissionComment = 'weft: traffic of containers';

/** iptables' chain of forwarded packets. */
export const forwardName = 'FORWARD';

/** The reference's chains that FORWARD jumps to: the administrator's CNI-ADMIN is behind one, and drops before us. */
export const referenceJumps: readonly string[] = ['CNI-FORWARD', 'CNI-ISOLATION-STAGE-1'];

/** Docker's chain for rules of others, at the very beginning of FORWARD. */
export const dockerName = 'DOCKER-USER';

/** iptables' word for a family in the names of its tools and tables. */
export const tableFamilies = {4: 'ip', 6: 'ip6'} as const satisfies Record<Family, string>;
