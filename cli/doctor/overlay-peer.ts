import {familyOf, formatIp, parseIp, type Ip} from '../../lib/ip/address.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {headerBytes} from '../../lib/overlay/device-spec.ts';
import {echo, type Echo} from './echo.ts';
import {about, type Finding} from './finding.ts';
import type {OverlayNetworkStatus, OverlayPeerStatus} from './overlay-status.ts';

const smallSize = 68;
const patienceMs = 1500;

const ask = (to: Ip, size: number): Promise<Echo> => echo(to, {size, timeoutMs: patienceMs});

/** What the agent says of a peer that it could not, or would not, take. */
export function judgePeer(network: string, {id, state, error}: OverlayPeerStatus): readonly Finding[] {
  const {problem} = about(`overlay ${network}`);
  if (state === 'failed')
    return [problem(`peer ${id}: the kernel refuses it: ${error ?? 'the log says why'}`)];
  if (state !== 'left out') return [];
  return [
    problem(
      `peer ${id} is left out: ${error ?? 'its claims are those of another'}`,
      'give every host subnets, addresses and a hardware address of its own; of two records remove the wrong one',
    ),
  ];
}

/**
 * Asks one peer: on the underlay, through the tunnel, and with packets as large as containers send; each family by itself.
 * Tells the first thing that is wrong.
 */
export async function askPeer(
  {name, form, mtu = 1450}: Pick<OverlayNetworkStatus, 'name' | 'form' | 'mtu'>,
  peer: OverlayPeerStatus,
): Promise<readonly Finding[]> {
  const {id} = peer;
  const {problem} = about(`overlay ${name}`);
  const outers = peer.underlay.map((text) => parseIp(text)).filter((ip) => ip !== undefined);
  // The VTEPs of a segment have no address: there is only the underlay to ask.
  if (form === 'l2') return askUnderlay(name, id, {outers, mtu});
  for (const text of peer.subnets) {
    const vtep = parseCidr(text)?.ip;
    if (vtep === undefined) continue;
    if ((await ask(vtep, smallSize)) !== 'answered') {
      const outer = outers.find((ip) => familyOf(ip) === familyOf(vtep)) ?? outers[0];
      const answers = outer !== undefined && (await ask(outer, smallSize)) === 'answered';
      if (!answers) return [silent(name, id, outer)];
      return [
        problem(
          `peer ${id}: the host answers at ${formatIp(outer)}, but nothing comes through the tunnel to ${formatIp(vtep)}`,
          "let the overlay's UDP port through the firewalls between the hosts, and on both",
        ),
      ];
    }
    const whole = await ask(vtep, mtu);
    if (whole !== 'answered') return [tooNarrow(name, id, {size: mtu, whole})];
  }
  return [];
}

async function askUnderlay(
  name: string,
  id: string,
  {outers, mtu}: {readonly outers: readonly Ip[]; readonly mtu: number},
): Promise<readonly Finding[]> {
  const [outer] = outers;
  if (outer === undefined || (await ask(outer, smallSize)) !== 'answered') return [silent(name, id, outer)];
  const size = mtu + headerBytes[familyOf(outer)];
  const whole = await ask(outer, size);
  return whole === 'answered' ? [] : [tooNarrow(name, id, {size, whole})];
}

function silent(name: string, id: string, outer: Ip | undefined): Finding {
  return about(`overlay ${name}`).problem(
    `peer ${id} does not answer at ${outer === undefined ? 'its address' : formatIp(outer)}`,
    'look whether that host is up and its address is right',
  );
}

function tooNarrow(
  name: string,
  id: string,
  {size, whole}: {readonly size: number; readonly whole: Echo},
): Finding {
  return about(`overlay ${name}`).warning(
    `peer ${id}: packets of ${size} bytes ${whole === 'too-large' ? 'are too large for the way there' : 'are lost on the way'}`,
    'some link between the hosts takes less than theirs: set "mtu" of the network, or mend the link',
  );
}
