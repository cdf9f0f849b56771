import {readFileSync} from 'node:fs';
import {about, type Finding} from './finding.ts';

/** What fills up on a busy node: how much of it is used, and the setting that is its limit. */
interface Limit {
  readonly name: string;
  readonly used: () => number | undefined;
  readonly limit: string;
  readonly consequence: string;
}

const limits: readonly Limit[] = [
  {
    name: 'tracked connections',
    used: () => readNumber('/proc/sys/net/netfilter/nf_conntrack_count'),
    limit: 'net/netfilter/nf_conntrack_max',
    consequence: 'new connections of containers are dropped when it is full',
  },
  {
    name: 'IPv4 neighbours',
    used: () => countNeighbours('/proc/net/stat/arp_cache'),
    limit: 'net/ipv4/neigh/default/gc_thresh3',
    consequence: 'containers stop to reach each other when it is full',
  },
  {
    name: 'IPv6 neighbours',
    used: () => countNeighbours('/proc/net/stat/ndisc_cache'),
    limit: 'net/ipv6/neigh/default/gc_thresh3',
    consequence: 'containers stop to reach each other when it is full',
  },
];

const nearlyFull = 0.8;

/** Whether one of the kernel's tables is nearly full. */
export function checkLimits(): readonly Finding[] {
  const {ok, problem} = about('limits');
  const known = limits.flatMap(({used, limit, ...rest}) => {
    const count = used();
    const most = readNumber(`/proc/sys/${limit}`);
    return count === undefined || most === undefined || most === 0 ? [] : [{...rest, limit, count, most}];
  });
  const full = known.filter(({count, most}) => count > most * nearlyFull);
  if (full.length === 0) {
    const text = known.map(({name, count, most}) => `${name} ${count} of ${most}`).join(', ');
    return text === '' ? [] : [ok(text)];
  }
  return full.map(({name, count, most, limit, consequence}) =>
    problem(
      `${name}: ${count} of ${most}; ${consequence}`,
      `sysctl -w ${limit.replaceAll('/', '.')}=${2 ** Math.ceil(Math.log2(count * 2))}, and keep it in /etc/sysctl.d`,
    ),
  );
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not built into this kernel, or its module is not loaded: then it cannot be full either.
    return undefined;
  }
}

function readNumber(path: string): number | undefined {
  const text = readText(path);
  return text === undefined ? undefined : Number(text);
}

/** The first column of any CPU's line is the number of entries of all, in hexadecimal. */
function countNeighbours(path: string): number | undefined {
  const line = readText(path)?.split('\n')[1];
  return line === undefined ? undefined : Number.parseInt(line, 16);
}
