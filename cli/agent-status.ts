import {describeFailure} from '../lib/cni/failure.ts';
import {askAgent} from './agent-api.ts';
import type {OverlayStatus} from './doctor/overlay-status.ts';
import {formatTable} from './table.ts';

/** What of the agent's `/status` is shown; `--json` shows all of it. */
interface AgentStatus {
  readonly version: string;
  readonly pid: number;
  readonly ready: boolean;
  readonly notReady: readonly string[];
  readonly modules: {readonly overlay?: OverlayStatus};
}

/** What the agent says of itself; undefined where none runs, or it does not answer, which `warn` is told. */
export async function findAgentStatus(
  runDir: string,
  warn: (message: string) => void,
): Promise<AgentStatus | undefined> {
  try {
    const answer = await askAgent('/status', {runDir});
    return answer && (JSON.parse(answer.text) as AgentStatus);
  } catch (error) {
    warn(describeFailure(error));
    return undefined;
  }
}

export function describeAgent({version, pid, ready, notReady, modules}: AgentStatus): string[] {
  const lines = [`agent ${version}, process ${pid}: ${ready ? 'ready' : 'not ready'}`];
  lines.push(...notReady.map((reason) => `  ${reason}`));
  for (const network of modules.overlay?.networks ?? []) {
    const {name, form, vni, mtu, membership, peers, conflicts = [], differs} = network;
    const facts = [form, `VNI ${vni ?? '-'}`, `MTU ${mtu ?? '-'}`, `membership ${membership.state}`];
    lines.push(`overlay ${name}: ${facts.join(', ')}; ${peers.length} peers`);
    if (membership.reason !== undefined) lines.push(`  membership: ${membership.reason}`);
    if (peers.length > 0) {
      const rows = peers.map((peer) => [
        peer.id,
        peer.state,
        peer.underlay.join(' '),
        peer.subnets.join(' '),
      ]);
      lines.push(
        ...formatTable([['PEER', 'STATE', 'UNDERLAY', 'SUBNETS'], ...rows]).map((line) => `  ${line}`),
      );
    }
    lines.push(...conflicts.map((each) => `  conflict: ${each}`));
    lines.push(...differs.map((each) => `  differs: ${each}`));
  }
  return lines;
}
