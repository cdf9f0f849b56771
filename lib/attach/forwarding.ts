import {accessSync, constants} from 'node:fs';
import {CniError, errorCodes} from '../cni/error.ts';
import type {Host} from '../host.ts';
import type {Family} from '../ip/address.ts';
import {isForwarding} from '../netlink/route/netconf.ts';

const sysctls: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
};

/** Lets the host forward packets of these families; written only where it does not yet. `who` needs it: '"isGateway"'. */
export async function ensureForwarding(host: Host, families: Iterable<Family>, who: string): Promise<void> {
  for (const family of await listOff(host, families)) {
    try {
      host.sysctl.ensure(sysctls[family], '1');
    } catch (cause) {
      throw new Error(`failed to enable forwarding, which ${who} needs (sysctl -w ${dotted(family)}=1)`, {
        cause,
      });
    }
  }
}

/** Throws where the host does not forward packets of one of these families. */
export async function checkForwarding(host: Host, families: Iterable<Family>): Promise<void> {
  for (const family of await listOff(host, families)) {
    if (host.sysctl.read(sysctls[family]) === '1') continue;
    throw new Error(`forwarding is off: ${dotted(family)} is not 1; sysctl -w ${dotted(family)}=1`);
  }
}

/** Error 50 where the host does not forward and could not be made to. */
export function checkForwardingPossible(host: Host, who: string): void {
  for (const family of [4, 6] as const) {
    try {
      if (host.sysctl.read(sysctls[family]) === '1') continue;
    } catch {
      // A kernel without this family; an ADD with addresses of it says so.
      continue;
    }
    try {
      accessSync(`/proc/sys/${sysctls[family]}`, constants.W_OK);
    } catch (error) {
      throw new CniError(
        errorCodes.notAvailable,
        `cannot enable forwarding, which ${who} needs: ${(error as Error).message}`,
        `sysctl -w ${dotted(family)}=1, or mount /proc/sys writable`,
      );
    }
  }
}

/**
 * The families that may be off. Asked by netlink: to open a file below /proc/sys/net takes longer the more namespaces there
 * are. Where that is refused the file says what is wrong.
 */
async function listOff({rt}: Host, families: Iterable<Family>): Promise<readonly Family[]> {
  const asked = [...new Set(families)].map(async (family) => {
    const isOn = await isForwarding(rt, family).catch(() => false);
    return isOn ? [] : [family];
  });
  return (await Promise.all(asked)).flat();
}

function dotted(family: Family): string {
  return sysctls[family].replaceAll('/', '.');
}
