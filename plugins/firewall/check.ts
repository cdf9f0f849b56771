import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host} from '../../lib/host.ts';
import {choiceOf, chooseFirewalld} from './add.ts';
import {wantedOf} from './attachment.ts';
import {checkFirewall} from './backend.ts';
import {parseFirewallConf, requirePrevResult} from './conf.ts';

/** Compares what an ADD made with what is there; throws everything that is missing or different. Makes nothing. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseFirewallConf(call);
  const wanted = wantedOf(conf, requirePrevResult(findPrevResult(call)));
  if (wanted.ips.length === 0) return;
  using firewalld = await chooseFirewalld(call, conf);
  const missing = [
    ...(await checkFirewall(call, host, choiceOf(conf, firewalld), wanted)),
    ...((await firewalld?.check(conf.zone, wanted.ips)) ?? []),
  ];
  if (missing.length > 0) throw new Error(missing.join('; '));
}
