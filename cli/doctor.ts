import {parseArgs} from 'node:util';
import {describeFailure} from '../lib/cni/failure.ts';
import {createHost} from '../lib/host.ts';
import {familyOf} from '../lib/ip/address.ts';
import {defaultRunDir} from './agent-api.ts';
import type {Command} from './command.ts';
import {checkAgent} from './doctor/agent.ts';
import {checkConfigurations} from './doctor/configurations.ts';
import {formatFindings, type Finding} from './doctor/finding.ts';
import {checkExemptions} from './doctor/exemptions.ts';
import {checkFirewall} from './doctor/firewall.ts';
import {checkForwarding} from './doctor/forwarding.ts';
import {checkInstallation} from './doctor/installation.ts';
import {checkKernelFeatures} from './doctor/kernel-features.ts';
import {checkLimits} from './doctor/limits.ts';
import {checkReservations} from './doctor/reservations.ts';
import {checkSecrets} from './doctor/secrets.ts';
import {listHostLocalNetworks} from './host-local-networks.ts';

/** `weft doctor` */
export const doctor: Command = {
  summary: "look for what is wrong with this node's container networking, and say what to do",
  usage: `weft doctor [options]

  --json             print [{"severity": "ok" | "warning" | "problem", "subject", "message", "remedy"}]
  --conf-dir DIR     folder of network configurations (default /etc/cni/net.d)
  --bin-dir DIR      folder of plugins (default /opt/cni/bin)
  --run-dir DIR      where the agent has its sockets (default ${defaultRunDir})
  --agent-conf FILE  the agent's configuration (default /etc/weft/agent.json)

Looks and asks, and changes nothing. It sends a few packets to the hosts of the overlay that the agent knows. Ends with 1
when there is a problem, with 0 when there are at most warnings.`,
  async run({args, out, release}) {
    const {values} = parseArgs({
      args: [...args],
      options: {
        json: {type: 'boolean', default: false},
        'conf-dir': {type: 'string', default: '/etc/cni/net.d'},
        'bin-dir': {type: 'string', default: '/opt/cni/bin'},
        'run-dir': {type: 'string', default: defaultRunDir},
        'agent-conf': {type: 'string', default: '/etc/weft/agent.json'},
      },
    });
    const {'conf-dir': confDir, 'bin-dir': binDir, 'run-dir': runDir, 'agent-conf': agentConf} = values;
    const host = createHost();
    try {
      const {networks, findings} = checkConfigurations({confDir, binDir});
      const all = [
        ...(await attempt('kernel', checkKernelFeatures)),
        ...(await attempt('limits', checkLimits)),
        ...(await attempt('installation', () => checkInstallation({binDir, version: release.version}))),
        ...findings,
        ...(await attempt('forwarding', () => checkForwarding(host, {usesIpv6: hasIpv6(confDir)}))),
        ...(await attempt('firewall', () => checkFirewall(host, networks))),
        ...(await attempt('masquerade', () => checkExemptions(host, networks))),
        ...(await attempt('addresses', () => checkReservations(confDir))),
        ...(await attempt('secrets', () => checkSecrets(agentConf))),
        ...(await attempt('agent', () => checkAgent(host, {runDir, agentConf, release}))),
      ];
      if (values.json) out(JSON.stringify(all, undefined, 2));
      else for (const line of formatFindings(all)) out(line);
      return all.some(({severity}) => severity === 'problem') ? 1 : 0;
    } finally {
      host.close();
    }
  },
};

/** What is wrong with configurations is told elsewhere. */
function hasIpv6(confDir: string): boolean {
  const networks = listHostLocalNetworks({confDir, warn: () => {}});
  const ranges = networks.flatMap(({sets = []}) => sets.flat());
  return ranges.some(({subnet}) => familyOf(subnet.ip) === 6);
}

/** A check that fails says so, and the others go on. */
async function attempt(
  subject: string,
  check: () => readonly Finding[] | Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await check();
  } catch (error) {
    const message = `cannot be looked at: ${describeFailure(error)}`;
    return [{severity: 'problem', subject, message, remedy: 'run `weft doctor` as root'}];
  }
}
