import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {formatCidr, hostCidr} from '../../lib/ip/cidr.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {SystemBus} from './dbus.ts';
import type {DbusOptions} from './dbus.ts';

const service = 'org.fedoraproject.FirewallD1';

const zoneMethods = {
  destination: service,
  path: '/org/fedoraproject/FirewallD1',
  interface: 'org.fedoraproject.FirewallD1.zone',
} as const;

/** firewalld on the system bus. Close it. */
export interface Firewalld extends Disposable {
  /** Assigns addresses to a zone; those that are in it already stay. Throws in the reference's words. */
  add(zone: string, ips: readonly Ip[]): Promise<void>;
  /** Those of the addresses that are not in the zone, as sentences of the reference. */
  check(zone: string, ips: readonly Ip[]): Promise<string[]>;
  /** Takes addresses out of a zone; gives what firewalld said of those it could not. */
  remove(zone: string, ips: readonly Ip[]): Promise<string[]>;
}

/** Connects to firewalld. Throws CniError `code` where it does not run. */
export async function openFirewalld(
  options: DbusOptions,
  code: number = errorCodes.internal,
): Promise<Firewalld> {
  try {
    const bus = await SystemBus.open(options);
    if (await bus.hasOwner(service)) return wrap(bus);
    bus.close();
  } catch (cause) {
    throw notThere('cannot be reached', code, cause);
  }
  throw notThere('does not run', code);
}

/** Connects to firewalld where it runs; any trouble on the way there counts as that it does not, as for the reference. */
export async function findFirewalld(options: DbusOptions): Promise<Firewalld | undefined> {
  try {
    return await openFirewalld(options);
  } catch {
    return undefined;
  }
}

function notThere(what: string, code: number, cause?: unknown): CniError {
  return new CniError(
    code,
    `the backend "firewalld" was requested, but firewalld ${what}`,
    'start firewalld, or set "backend": "nftables"',
    cause === undefined ? undefined : {cause},
  );
}

function wrap(bus: SystemBus): Firewalld {
  const ask = (member: string, zone: string, ip: Ip) =>
    bus.call({...zoneMethods, member}, [zone, formatCidr(hostCidr(ip))]);
  return {
    async add(zone, ips) {
      await Promise.all(
        ips.map(async (ip) => {
          try {
            await ask('addSource', zone, ip);
          } catch (cause) {
            if (says(cause, 'ZONE_ALREADY_SET')) return;
            throw new Error(`failed to add the address ${formatCidr(hostCidr(ip))} to ${zone} zone`, {cause});
          }
        }),
      );
    },
    async check(zone, ips) {
      const missing = ips.map(async (ip) => {
        const sentence = `failed to find the address ${formatCidr(hostCidr(ip))} in ${zone} zone`;
        try {
          return (await ask('querySource', zone, ip)) === true ? [] : [sentence];
        } catch (error) {
          return [`${sentence}: ${(error as Error).message}`];
        }
      });
      return (await Promise.all(missing)).flat();
    },
    async remove(zone, ips) {
      const refusals = ips.map(async (ip) => {
        try {
          await ask('removeSource', zone, ip);
          return [];
        } catch (error) {
          return says(error, 'UNKNOWN_SOURCE') || says(error, 'NOT_ENABLED')
            ? []
            : [(error as Error).message];
        }
      });
      return (await Promise.all(refusals)).flat();
    },
    [Symbol.dispose]: () => bus.close(),
  };
}

/** firewalld's errors are all of one name; their text begins with what went wrong. */
function says(error: unknown, what: string): boolean {
  return error instanceof Error && error.message.includes(what);
}
