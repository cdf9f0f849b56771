import {CniError, errorCodes} from '../../lib/cni/error.ts';

/** The two ways to forward ports ("backend"). */
export type Backend = 'nftables' | 'iptables';

interface Keys {
  readonly backend?: string | undefined;
  readonly markMasqBit?: number | undefined;
  readonly externalSetMarkChain?: string | undefined;
  readonly conditionsV4: readonly string[];
  readonly conditionsV6: readonly string[];
}

/**
 * The backend that a configuration asks for: by name, or by a key that only iptables can express; `undefined` where it
 * asks for none. Throws CniError 7 for a name nobody knows and for keys of the other one.
 */
export function planBackend(keys: Keys): Backend | undefined {
  const options: Record<Backend, string[]> = {iptables: [], nftables: []};
  if (keys.markMasqBit !== undefined) options.iptables.push('markMasqBit');
  if (keys.externalSetMarkChain !== undefined) options.iptables.push('externalSetMarkChain');
  for (const key of ['conditionsV4', 'conditionsV6'] as const) {
    const first = keys[key][0] ?? '';
    if (first !== '') options[/^[-!]/.test(first) ? 'iptables' : 'nftables'].push(key);
  }
  const chosen = named(keys.backend) ?? (options.iptables.length > 0 ? 'iptables' : undefined);
  const other = chosen === 'iptables' ? 'nftables' : 'iptables';
  const wrong = options[other];
  if (chosen && wrong.length > 0) {
    throw new CniError(
      errorCodes.invalidConfig,
      `${chosen} backend was requested but configuration contains ${other}-specific options [${wrong.join(' ')}]`,
      keys.backend
        ? `set "backend" to "${other}", or remove these keys`
        : `it contains options of iptables as well: [${options.iptables.join(' ')}]`,
    );
  }
  return chosen;
}

function named(backend: string | undefined): Backend | undefined {
  if (backend === undefined) return undefined;
  if (backend === 'iptables' || backend === 'nftables') return backend;
  throw new CniError(
    errorCodes.invalidConfig,
    `unrecognized backend ${JSON.stringify(backend)}`,
    '"backend" is "nftables" (the default) or "iptables"',
  );
}
