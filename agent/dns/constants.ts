/** Types of records (RFC 1035, 3596, 2782, 6891). Others are passed on as numbers. */
export const recordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;

/** The class of the Internet, the only one there is an answer for. */
export const classIn = 1;

/** Response codes (RFC 1035 and 6895). */
export const rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

/** Bits of the second 16 of a header. */
export const headerFlag = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
} as const;

export const headerSize = 12;

/** What fits into a datagram for a client that does not say more (RFC 1035). */
export const plainUdpSize = 512;

/** The most we send in a datagram: never cut in pieces on the way (DNS flag day 2020). */
export const maxUdpSize = 1232;

/** A message over TCP has its length in front, in 16 bits. */
export const maxTcpSize = 65_535;
