import {CniError, errorCodes} from './error.ts';

/** Every version of the CNI specification that this library speaks, oldest first. */
export const specVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

/** The newest of them: what VERSION replies and what runtimes probe with. */
export const currentVersion = '1.1.0';

/** What a configuration without `cniVersion` means. */
export const unstatedVersion = '0.1.0';

/** From which version a configuration may ask for a verb. */
export const sinceVersion = {CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0'} as const;

/** Whether `version` is `minimum` or newer. Throws CniError 6 for what is no version. */
export function isAtLeast(version: string, minimum: string): boolean {
  const parts = parseVersion(version);
  const least = parseVersion(minimum);
  const i = parts.findIndex((part, i) => part !== least[i]);
  return i < 0 || parts[i]! > least[i]!;
}

/** Whether the two are the same or `a` is the older; for sorting. */
export function compareVersions(a: string, b: string): number {
  return a === b ? 0 : isAtLeast(a, b) ? 1 : -1;
}

function parseVersion(version: string): readonly [number, number, number] {
  const parts = version.split('.');
  if (version === '' || parts.length > 3) {
    throw refuse(
      `invalid version "${version}": ${version === '' ? 'the version is empty' : 'too many parts'}`,
    );
  }
  const [major = 0, minor = 0, micro = 0] = parts.map((part, i) => {
    if (!/^[0-9]{1,9}$/.test(part)) {
      throw refuse(
        `failed to convert ${['major', 'minor', 'micro'][i]} version part ${JSON.stringify(part)}`,
      );
    }
    return Number(part);
  });
  return [major, minor, micro];
}

function refuse(msg: string): CniError {
  return new CniError(errorCodes.decodeFailure, msg, 'a version of the CNI specification looks like "1.0.0"');
}

/**
 * The rules for the configuration's version (spec section 2, in the order of the reference's
 * skeleton): CHECK, GC and STATUS first ask whether it knows them. Throws CniError 1 or 6.
 */
export function checkVersion(command: string, version: string, supported: readonly string[]): void {
  if (command === 'CHECK' || command === 'GC' || command === 'STATUS') {
    if (!isAtLeast(version, sinceVersion[command])) {
      throw incompatible(
        `config version does not allow ${command}`,
        `"${version}" is older than ${sinceVersion[command]}`,
      );
    }
    if (!supported.some((candidate) => isAtLeast(candidate, version))) {
      throw incompatible(`plugin version does not allow ${command}`, mismatch(version, supported));
    }
  }
  if (!supported.includes(version))
    throw incompatible('incompatible CNI versions', mismatch(version, supported));
}

function incompatible(msg: string, details: string): CniError {
  return new CniError(errorCodes.incompatibleVersion, msg, details);
}

function mismatch(version: string, supported: readonly string[]): string {
  const list = supported.map((candidate) => JSON.stringify(candidate)).join(' ');
  return `config is ${JSON.stringify(version)}, plugin supports [${list}]`;
}
