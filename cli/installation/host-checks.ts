import type {HostFacts} from './host-facts.ts';

/** Node's own floor, and with it ours. */
const minimumGlibc = [2, 28] as const;

/** Something about the host that whoever installs should know; `fatal` when plugins would not work at all. */
export interface Finding {
  readonly fatal: boolean;
  readonly text: string;
}

/** Judges a host: one sentence for each thing that is not as it should be, with what to do about it. */
export function checkHost(
  {glibc, veth, bridge, nftables, freeBytes}: HostFacts,
  {binDir, neededBytes}: {readonly binDir: string; readonly neededBytes: number},
): readonly Finding[] {
  const findings: Finding[] = [];
  const fatal = (text: string) => findings.push({fatal: true, text});
  const note = (text: string) => findings.push({fatal: false, text});

  if (glibc === null) {
    fatal('the host has no glibc (is it Alpine or another with musl?): weft needs glibc 2.28 or newer there');
  } else if (glibc === undefined) {
    note('cannot see which C library the host has: weft needs glibc 2.28 or newer there');
  } else if (isOlder(glibc, minimumGlibc)) {
    fatal(`the host has glibc ${glibc}, weft needs 2.28 or newer: upgrade the host's distribution`);
  }

  for (const [kind, presence] of [
    ['veth', veth],
    ['bridge', bridge],
  ] as const) {
    if (presence === 'absent') {
      fatal(
        `the kernel has no ${kind} links: install the package with its modules ` +
          `(such as linux-modules-extra or kernel-modules), or run \`modprobe ${kind}\` and see what it says`,
      );
    }
  }
  if (nftables === 'absent') {
    note(
      'the kernel has no nf_tables: `ipMasq` falls back to iptables, `macspoofchk` does not work; ' +
        '`modprobe nf_tables` says what is missing',
    );
  }
  if ([veth, bridge, nftables].includes('unknown')) {
    note(
      'may not ask the kernel for veth, bridge and nf_tables: run as root with CAP_NET_ADMIN to have them checked',
    );
  }

  if (freeBytes < neededBytes) {
    fatal(
      `${binDir} needs ${megabytes(neededBytes)} MB, but only ${megabytes(freeBytes)} MB are free: make room there`,
    );
  }
  return findings;
}

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [hasMajor = 0, hasMinor = 0] = version.split('.').map(Number);
  return hasMajor < major || (hasMajor === major && hasMinor < minor);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
