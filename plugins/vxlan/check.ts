import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {JsonObject} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {parseVxlanConf} from './conf.ts';
import {forCheck} from './delegated.ts';
import {checkEndpoint} from './endpoint.ts';
import {listCidrs, readHostNetwork} from './host-network.ts';
import {rangesOf, renderDelegate} from './render.ts';
import {findScratch} from './scratch.ts';
import {diffStatic} from './static/datapath.ts';
import {isStatic, planStaticNetwork} from './static/network.ts';
import {hostNetworkOf} from './static/record.ts';

/** Compares with what an ADD made: the delegate's part, and that the container's subnet is still this host's. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseVxlanConf(call);
  const plan = isStatic(conf) ? await planStaticNetwork(host, conf) : undefined;
  const network = plan ? hostNetworkOf(plan) : readHostNetwork(conf);
  const rendered = renderDelegate(conf.template, network);
  const saved = findScratch(conf.dataDir, conf.owner)?.conf;
  await everyStep([
    async () => {
      const missing = plan ? await diffStatic(host, plan, conf) : [];
      if (missing.length === 0) return;
      const [first, ...rest] = missing;
      const more = rest.length === 0 ? '' : `, and ${rest.length} more`;
      throw new Error(
        `the way to other hosts is not as it should be: ${first}${more}; the next ADD mends it`,
      );
    },
    () => {
      if (network.form === 'l2') checkEndpoint(call, conf);
    },
    () => {
      const ranges = saved && rangesOf(saved);
      if (ranges === undefined || ranges === rangesOf(rendered)) return;
      throw new Error(
        `this host has the subnet ${listCidrs(network.subnets)} now, the container is of ${ranges}: ` +
          'others do not reach it; make it anew',
      );
    },
    () => call.delegate(delegateType(conf.template.type, saved), 'CHECK', forCheck(call, saved ?? rendered)),
  ]);
}

function delegateType(type: string, saved: JsonObject | undefined): string {
  const noted = saved && findKey(saved, 'type');
  return typeof noted === 'string' ? noted : type;
}
