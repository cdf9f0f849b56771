/** Error codes of CNI specification 1.1.0, section "Error", with what each of them means. */
export const errorCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  containerUnknown: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodeFailure: 6,
  invalidConfig: 7,
  /** Not in the specification: the reference's code for a namespace that cannot be used. */
  invalidNetns: 8,
  tryAgainLater: 11,
  /** STATUS: ADD requests cannot be served. */
  notAvailable: 50,
  /** STATUS: as 50, and containers that are there may have limited connectivity. */
  limitedConnectivity: 51,
  /** Not in the specification: the reference's code for everything without one of its own. */
  internal: 999,
} as const;

/**
 * What a plugin reports on stdout when it fails: `code` as in `errorCodes` (or whatever a delegate
 * reported), `msg` a short sentence people and tools match on, `details` what helps to mend it.
 */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  readonly details: string;

  constructor(code: number, msg: string, details = '', options?: ErrorOptions) {
    super(msg, options);
    this.code = code;
    this.details = details;
  }
}
