import {existsSync} from 'node:fs';
import {describeFailure} from '../../lib/cni/failure.ts';
import {askAgent} from '../agent-api.ts';
import {about, type Finding} from './finding.ts';

/** Whether the node agent runs, where one is configured, and what it lacks. */
export async function checkAgent({
  runDir,
  agentConf,
}: {
  readonly runDir: string;
  readonly agentConf: string;
}): Promise<readonly Finding[]> {
  const {ok, problem} = about('agent');
  const isConfigured = existsSync(agentConf);
  try {
    const ready = await askAgent('/readyz', {runDir});
    if (ready === undefined) {
      if (!isConfigured) return [ok('none is configured: every call of a plugin is a process of its own')];
      return [
        problem(
          `${agentConf} is there, but no agent runs`,
          'systemctl start weft-agent; its journal says why it ended',
        ),
      ];
    }
    if (ready.code === 200) return [ok('it is ready')];
    return ready.text
      .trim()
      .split('\n')
      .map((line) => problem(`not ready: ${line}`));
  } catch (error) {
    return [
      problem(
        describeFailure(error),
        'systemctl restart weft-agent; containers keep their network meanwhile',
      ),
    ];
  }
}
