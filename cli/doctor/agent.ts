import {existsSync} from 'node:fs';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Host} from '../../lib/host.ts';
import {askAgent} from '../agent-api.ts';
import type {Release} from '../release.ts';
import {about, type Finding} from './finding.ts';
import {checkOverlay} from './overlay.ts';
import type {OverlayStatus} from './overlay-status.ts';

/** Whether the node agent runs, where one is configured, whether it is of this build, and what it lacks. */
export async function checkAgent(
  host: Host,
  {
    runDir,
    agentConf,
    release,
  }: {readonly runDir: string; readonly agentConf: string; readonly release: Release},
): Promise<readonly Finding[]> {
  const {ok, warning, problem} = about('agent');
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
    const status = await askAgent('/status', {runDir});
    const {version, build, modules} = JSON.parse(status?.text ?? '{}') as {
      version?: string;
      build?: string;
      modules?: {overlay?: OverlayStatus};
    };
    const overlay = modules ? await checkOverlay(host, modules.overlay, {runDir}) : [];
    const others =
      build === release.id
        ? []
        : [
            warning(
              `it is of weft ${version} (build ${build}), this is ${release.version} (build ${release.id}): it serves no plugin of this one`,
              'systemctl restart weft-agent',
            ),
          ];
    if (ready.code === 200) return [...others, ok('it is ready'), ...overlay];
    const reasons = ready.text.trim().split('\n');
    return [...others, ...reasons.map((line) => problem(`not ready: ${line}`)), ...overlay];
  } catch (error) {
    return [
      problem(
        describeFailure(error),
        'systemctl restart weft-agent; containers keep their network meanwhile',
      ),
    ];
  }
}
