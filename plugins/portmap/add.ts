import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {parsePortmapConf} from './conf.ts';
import type {PortmapConf} from './conf.ts';
import {forgetOtherConnections} from './conntrack.ts';
import {removeForwarding} from './del.ts';
import {ensureForwarding, ensureReservation} from './forward.ts';
import type {Forwarding} from './forward.ts';
import {checkIptables, ensureIptablesForwarding} from './iptables.ts';
import {warnOfListeners} from './listeners.ts';
import {ensureRouteLocalnet} from './localnet.ts';
import type {Forward} from './mapping.ts';
import {
  explain,
  findLocalInterface,
  planForwarding,
  planIptablesForwardings,
  planOwnForwards,
  withBackend,
} from './portmap.ts';

/** Forwards ports of the host to the container. Without mappings it touches nothing. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parsePortmapConf(call);
  if (!conf.previous) {
    throw new CniError(
      errorCodes.invalidConfig,
      'must be called as chained plugin',
      'list "portmap" behind the plugin that makes the interface',
    );
  }
  const forwards = planOwnForwards(call, conf);
  if (forwards.length === 0) return conf.previous;
  await using undo = new AsyncDisposableStack();
  undo.defer(() => quietly(call, 'undoing a failed ADD', () => removeForwarding(call, host, conf.mappings)));
  const localInterface = await findLocalInterface(host, conf, forwards);
  await forwardPorts(call, host, {conf, forwards, localInterface});
  if (localInterface !== undefined) ensureRouteLocalnet(host, localInterface);
  undo.move();
  await quietly(call, 'forgetting UDP connections', () => forgetOtherConnections(host, forwards));
  await warnOfListeners(call, conf.mappings);
  return conf.previous;
}

interface Wanted {
  readonly conf: PortmapConf;
  readonly forwards: readonly Forward[];
  readonly localInterface: string | undefined;
}

async function forwardPorts(call: Call, host: Host, {conf, forwards, localInterface}: Wanted): Promise<void> {
  const options = {env: call.env};
  await withBackend(conf, options, {
    nftables: () => ensureForwarding(host, planForwarding(conf, forwards, localInterface)),
    async iptables() {
      checkIptables(options);
      await reservePorts(host, planForwarding(conf, forwards, undefined));
      for (const wanted of planIptablesForwardings(conf, forwards))
        await ensureIptablesForwarding(host.nft, wanted, options);
    },
  });
}

/** So that a port which another container has is refused, whichever backend either of them uses. */
async function reservePorts(host: Host, forwarding: Forwarding): Promise<void> {
  try {
    await ensureReservation(host, forwarding);
  } catch (error) {
    // Nothing to keep it in: as with the reference, the first rule wins.
    if (!isMissingNftables(error)) throw explain(error);
  }
}

async function quietly(call: Call, what: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    call.warn(`${what}: ${describeFailure(error)}`);
  }
}
