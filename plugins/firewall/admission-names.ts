/** Tells the administrator what the rule is for. */
export const admissionComment = 'weft: traffic of containers';

/** iptables' chain of forwarded packets. */
export const forwardName = 'FORWARD';

/** Docker's chain for rules of others, at the very beginning of FORWARD. */
export const dockerName = 'DOCKER-USER';
