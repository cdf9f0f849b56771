import {setTimeout as sleep} from 'node:timers/promises';
import type {Sandbox} from '../host.ts';
import {formatIp} from '../ip/address.ts';
import {listAddresses} from '../netlink/route/address.ts';
import {getLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';

const settleMs = 5000;
const pollMs = 50;

/** Waits until no address is being tested for duplicates; the time for that is in the kernel's hands. */
export async function settleAddresses(sandbox: Sandbox, {ifindex, name}: Link): Promise<void> {
  for (const deadline = Date.now() + settleMs; ;) {
    const addresses = await listAddresses(sandbox.rt, {ifindex, family: 6});
    const failedOne = addresses.find(({dadFailed}) => dadFailed);
    if (failedOne) {
      throw new Error(
        `link ${name} has address ${formatIp(failedOne.ip)} in DADFAILED state: somebody else on the network has it`,
      );
    }
    if (!addresses.some(({tentative}) => tentative)) return;
    if (Date.now() > deadline) {
      const {operstate} = await getLink(sandbox.rt, {ifindex});
      if (operstate !== 'up') return;
      throw new Error(`link ${name} still has tentative addresses after ${settleMs} ms`);
    }
    await sleep(pollMs);
  }
}
