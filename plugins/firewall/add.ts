import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {knownOf, wantedOf} from './attachment.ts';
import {ensureFirewall} from './backend.ts';
import type {Choice} from './backend.ts';
import {parseFirewallConf, requirePrevResult} from './conf.ts';
import type {FirewallConf} from './conf.ts';
import {findFirewalld, openFirewalld} from './firewalld.ts';
import type {Firewalld} from './firewalld.ts';
import {removeAttachment} from './teardown.ts';

/** Lets the container's traffic through; the result is the one before. A failure takes back what was done. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseFirewallConf(call);
  const result = requirePrevResult(findPrevResult(call));
  const wanted = wantedOf(conf, result);
  if (wanted.ips.length === 0) return result;
  using firewalld = await chooseFirewalld(call, conf);
  await using undo = new AsyncDisposableStack();
  undo.defer(async () => {
    try {
      await removeAttachment(call, host, {
        owner: conf.owner,
        known: knownOf(result),
        zone: conf.zone,
        firewalld,
      });
    } catch (error) {
      // An undo that fails must not hide why the ADD did.
      call.warn(`undoing a failed ADD: ${describeFailure(error)}`);
    }
  });
  await ensureFirewall(call, host, choiceOf(conf, firewalld), wanted);
  await firewalld?.add(conf.zone, wanted.ips);
  undo.move();
  return result;
}

/** What is done beside firewalld, or without it. */
export function choiceOf({backend}: FirewallConf, firewalld: Firewalld | undefined): Choice {
  return {
    backend: backend === 'iptables' ? 'iptables' : 'nftables',
    isChosen: backend !== undefined,
    withFirewalld: firewalld !== undefined,
  };
}

/** firewalld where it is asked for, or runs and nothing else is asked for. */
export async function chooseFirewalld(
  call: Call,
  {backend}: Pick<FirewallConf, 'backend'>,
): Promise<Firewalld | undefined> {
  if (backend === 'firewalld') return openFirewalld(call);
  return backend === undefined ? findFirewalld(call) : undefined;
}
