/** Tells the administrator what the rule is for. */
export const admissionComment = 'weft: traffic of containers';

/** iptables' chain of forwarded packets. */
export const forwardName = 'FORWARD';

/** The reference's chains that FORWARD jumps to: the administrator's CNI-ADMIN is behind one, and drops before us. */
export const referenceJumps: readonly string[] = ['CNI-FORWARD', 'CNI-ISOLATION-STAGE-1'];

/** Docker's chain for rules of others, at the very beginning of FORWARD. */
export const dockerName = 'DOCKER-USER';
