import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import type {TestHost} from './host.ts';

/** All that a test may leave on its host, one line per thing, each line beginning with its kind. */
export type Snapshot = readonly string[];

interface Link {
  readonly ifname: string;
  readonly master?: string;
  readonly ifalias?: string;
  readonly linkinfo?: {readonly info_kind?: string};
}
interface Address {
  readonly ifname: string;
  readonly addr_info: readonly {readonly local: string; readonly prefixlen: number; readonly scope: string}[];
}
interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly table?: string;
}
interface NftBody {
  readonly family?: string;
  readonly table?: string;
  readonly name?: string;
  readonly handle?: number;
  readonly elem?: readonly unknown[];
}
type NftObject = Readonly<Record<string, NftBody>>;

const separator = '=====';

/** Lists links, addresses, routes, rules, netfilter objects, files, mounts and processes of a test host. */
export async function takeSnapshot(host: TestHost): Promise<Snapshot> {
  const {stdout} = await host.sh(listScript, {log: () => {}});
  const [links, addresses, routes4, routes6, nft, rest = ''] = stdout.split(`${separator}\n`);
  const decode = <T>(text = '') => (text.trim() === '' ? [] : JSON.parse(text)) as T;
  return [
    ...decode<Link[]>(links).map(
      (link) =>
        `link ${link.ifname} ${link.linkinfo?.info_kind ?? ''} master=${link.master ?? ''} ${link.ifalias ?? ''}`,
    ),
    // The kernel gives and takes link-local addresses and multicast routes in its own time.
    ...decode<Address[]>(addresses).flatMap(({ifname, addr_info}) =>
      addr_info
        .filter(({local}) => !local.startsWith('fe80:'))
        .map(({local, prefixlen}) => `address ${ifname} ${local}/${prefixlen}`),
    ),
    ...[...decode<Route[]>(routes4), ...decode<Route[]>(routes6)]
      .filter(({dst}) => !/^(fe80:|ff00::|multicast )/.test(dst))
      .map(({dst, gateway, dev, table}) => `route ${dst} ${gateway ?? ''} ${dev ?? ''} ${table ?? 'main'}`),
    ...decode<{nftables: NftObject[]}>(nft).nftables.flatMap(nftLines),
    ...rest.trim().split('\n'),
  ].toSorted();
}

// One process for all of it: tests that look after every system call take it hundreds of times.
const listScript = `
for list in 'ip -j -d link' 'ip -j address' 'ip -j -4 route show table all' 'ip -j -6 route show table all' 'nft -j list ruleset'; do
  $list
  printf '\\n${separator}\\n'
done
ip -4 rule | sed 's/^/rule4 /'
ip -6 rule | sed 's/^/rule6 /'
for family in ip ip6; do
  if [ -s /proc/net/\${family}_tables_names ]; then \${family}tables-legacy-save | grep -v '^[#:]' | sed 's/^/legacy /'; fi
done
find /run /var/lib/cni /etc/cni /opt/cni -xdev -path /run/machine -prune -o -type f -printf 'file %p\\n'
sed 's/^/mount /' /proc/self/mounts
for process in /proc/[0-9]*; do
  name=$(tr '\\0\\n' '  ' < $process/cmdline 2>/dev/null | cut -c1-4096) || continue
  # Without its name it is the kernel's, or has just ended; the others are this script, what keeps the host, and tests' own.
  case "\${process#/proc/} \${name% }" in "1 "*|"$$ "*|*"sleep 3600"|*"$process/cmdline"*|*/integration/harness/*|*" ") ;; *) echo "process $name" ;; esac
done
`;

function nftLines(object: NftObject): string[] {
  return Object.entries(object).flatMap(([kind, {elem = [], ...body}]) => {
    if (kind === 'metainfo') return [];
    const what = {...body, handle: undefined};
    if (kind !== 'set' && kind !== 'map') return [`nft ${kind} ${JSON.stringify(what)}`];
    const name = `nft ${kind} ${body.family ?? ''} ${body.table ?? ''} ${body.name ?? ''}`;
    return [name, ...elem.map((each) => `${name} element ${JSON.stringify(each)}`)];
  });
}

/** What is in `after` and was not in `before`. */
export function findAdded(before: Snapshot, after: Snapshot): string[] {
  const known = new Map<string, number>();
  for (const line of before) known.set(line, (known.get(line) ?? 0) + 1);
  return after.filter((line) => {
    const left = known.get(line) ?? 0;
    known.set(line, left - 1);
    return left <= 0;
  });
}

/**
 * What attachments leave by design. As the reference's do: the bridge with its addresses, host-local's lock and
 * the last address it gave, empty chains and sets. Of our own: the firewall's rules for every packet, an index that may vanish, and chains for the
 * options of masquerading, which no address leads to.
 */
export const staysByDesign: readonly RegExp[] = [
  /^link \S+ bridge master= $/,
  /^address cni-?[a-z]*\d* /,
  /^route \S+  cni-?[a-z]*\d* /,
  /^file \S+\/(lock|last_reserved_ip\.\d+)$/,
  /^file \/run\/weft\/host-local\//,
  // But for those of one container.
  /^nft (table|chain) (?!.*"name":"(cni-br-iface-|portmap-(taken|if-)))/,
  /^nft rule \{"family":"inet","table":"weft","chain":"masq-/,
  /^nft rule \{"family":"(inet|bridge)","table":"weft-firewall"/,
  /^nft (set|map) \S+ \S+ \S+$/,
];

/** What is there now, was not there before, and matches nothing of `allowed`. */
export async function findLeft(
  host: TestHost,
  before: Snapshot,
  allowed: readonly RegExp[] = staysByDesign,
): Promise<string[]> {
  const added = findAdded(before, await takeSnapshot(host));
  return added.filter((line) => !allowed.some((pattern) => pattern.test(line)));
}

/** Fails the test for each thing that `findLeft` finds; processes that are just ending have ten seconds. */
export async function assertNothingLeft(
  t: ExecutionContext,
  host: TestHost,
  before: Snapshot,
  allowed?: readonly RegExp[],
): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await setTimeout(100)) {
    const left = await findLeft(host, before, allowed);
    if (left.some((line) => !line.startsWith('process ')) || left.length === 0 || Date.now() > deadline) {
      t.deepEqual(left, []);
      return;
    }
  }
}
