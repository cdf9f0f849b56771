import type {TestHost} from './host.ts';
import type {Reply} from './plugin.ts';

/** A container to be drawn, with what its ADD returned. */
export interface DrawnContainer {
  readonly name: string;
  readonly result: Reply;
}

interface DrawnBridge {
  readonly name: string;
  readonly lines: readonly string[];
}

const gap = '   ';

/** Boxes for containers in a row, each joined to a port of the bridge's box above them. */
export function formatNetwork(bridge: DrawnBridge, containers: readonly DrawnContainer[]): string {
  const boxes = containers.map(({name, result}) => {
    const inside = result.interfaces?.findIndex(({sandbox}) => sandbox !== undefined && sandbox !== '') ?? -1;
    const own = result.interfaces?.[inside];
    const addresses = (result.ips ?? []).map(({address}) => address);
    return box([`container ${name}`, `${own?.name ?? ''}  ${own?.mac ?? ''}`, ...addresses], '┴');
  });
  const ports = containers.map(({result}, index) => {
    const veth = result.interfaces?.find(
      ({name, sandbox}) => name !== bridge.name && (sandbox === undefined || sandbox === ''),
    );
    const width = boxes[index]?.[0]?.length ?? 0;
    return {name: padTo(`   ${veth?.name ?? ''}`, width), down: padTo('   │', width)};
  });
  const names = ports.map(({name}) => name).join(gap);
  const lines = [...bridge.lines, ports.map(({down}) => down).join(gap), names];
  const host = box(
    lines.map((line) => padTo(line, names.length)),
    '─',
  );
  const downs = `  ${ports.map(({down}) => down).join(gap)}`;
  const bottom = host.at(-1)!.split('');
  for (let column = 0; column < downs.length; column++) if (downs[column] === '│') bottom[column] = '┬';
  const rows = Array.from({length: Math.max(...boxes.map((each) => each.length))}, (_, row) =>
    `  ${boxes.map((each) => each[row] ?? ' '.repeat(each[0]?.length ?? 0)).join(gap)}`.trimEnd(),
  );
  return [...host.slice(0, -1), bottom.join(''), downs.trimEnd(), ...rows].join('\n');
}

/** A frame around lines; `mark` is where something joins its top from above. */
function box(lines: readonly string[], mark: string): string[] {
  const width = Math.max(...lines.map((line) => line.length));
  return [
    `┌──${mark}${'─'.repeat(width - 1)}┐`,
    ...lines.map((line) => `│ ${padTo(line, width)} │`),
    `└${'─'.repeat(width + 2)}┘`,
  ];
}

function padTo(text: string, width: number): string {
  return text.padEnd(width);
}

/** Draws the network of these containers with the addresses that the bridge really has. */
export async function drawNetwork(host: TestHost, containers: readonly DrawnContainer[]): Promise<string> {
  const first = containers[0]?.result.interfaces?.[0];
  const bridge = first?.name ?? '';
  const {stdout} = await host.run(['ip', '-j', 'address', 'show', 'dev', bridge]);
  const [link] = JSON.parse(stdout) as {addr_info: {local: string; prefixlen: number; scope: string}[]}[];
  const addresses = (link?.addr_info ?? [])
    .filter(({scope}) => scope === 'global')
    .map(({local, prefixlen}) => `  ${local}/${prefixlen}`);
  return formatNetwork(
    {name: bridge, lines: [`bridge ${bridge}  ${first?.mac ?? ''}`, ...addresses]},
    containers,
  );
}
