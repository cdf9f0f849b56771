import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {isSysctlReadOnly} from '../../lib/netns/sysctl.ts';
import {readAttributes} from './attributes.ts';
import type {Attributes} from './attributes.ts';
import {parseTuningConf} from './conf.ts';
import type {Sysctl} from './conf.ts';

/** Compares everything that the configuration names with what is there; throws all that differs. */
export async function check(call: Call, host: Host): Promise<void> {
  const {sysctls, attributes} = parseTuningConf(call);
  if (!findPrevResult(call)) throw new Error('Required prevResult missing');
  using sandbox = host.sandbox(call.netns);
  await everyStep([
    ...sysctls.map((sysctl) => () => checkSysctl(sandbox, sysctl)),
    () => checkLink(sandbox, call.ifName, attributes),
  ]);
}

function checkSysctl({sysctl}: Sandbox, {path, value}: Sysctl): void {
  let current: string;
  try {
    current = sysctl.read(path);
  } catch (error) {
    // It can only be written.
    if (isSysctlReadOnly(error)) return;
    throw error;
  }
  if (inOneSpace(current) === inOneSpace(value)) return;
  throw new Error(
    `Error: Tuning configured value of /proc/sys/${path} is ${value}, current value is ${current}`,
  );
}

/** The kernel separates several values by tabs, whatever they were written with. */
function inOneSpace(value: string): string {
  return value.trim().split(/\s+/).join(' ');
}

async function checkLink({rt}: Sandbox, ifName: string, wanted: Attributes): Promise<void> {
  const link = await findLink(rt, {name: ifName});
  if (!link) throw new Error(`Cannot find container link ${ifName}`);
  const current = readAttributes(link);
  const differences = Object.entries({promisc: false, ...wanted})
    .filter(([name, value]) => current[name as keyof Attributes] !== value)
    .map(([name, value]) => describe(ifName, name as keyof Attributes, {value, current}));
  await everyStep(
    differences.map((message) => () => {
      throw new Error(message);
    }),
  );
}

const names = {
  mac: 'Ethernet',
  mtu: 'MTU',
  allmulti: 'all-multicast mode',
  txQLen: 'Transmit Queue Length',
} as const;

function describe(
  ifName: string,
  name: keyof Attributes,
  {value, current}: {readonly value: unknown; readonly current: Required<Attributes>},
): string {
  if (name === 'promisc') {
    return `Error: Tuning link ${ifName} configured promisc is ${String(value)}, current value is ${Number(current.promisc)}`;
  }
  return `Error: Tuning configured ${names[name]} of ${ifName} is ${String(value)}, current value is ${current[name]}`;
}
