import type {Host, Sandbox} from '../../lib/host.ts';
import {NetlinkError} from '../../lib/netlink/error.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import type {Netlink} from '../../lib/netlink/netlink.ts';
import type {Sysctl} from '../../lib/netns/sysctl.ts';

/** What a verb did through a host, step by step. */
export interface FailingHost {
  readonly host: Host;
  /** What was asked of the kernel so far, in order: "add link eth0", "write net/ipv4/ip_forward". */
  readonly steps: readonly string[];
}

/**
 * A host that refuses its step number `failAt` (from 1; none if left out) and does all others. `late`: the step is
 * carried out and then reported as failed, as when its answer got lost.
 */
export function failingHost(
  real: Host,
  {failAt, late = false}: {readonly failAt?: number; readonly late?: boolean} = {},
): FailingHost {
  const steps: string[] = [];
  const isFailing = (what: string) => steps.push(what) === failAt;
  const refusal = (what: string) => new NetlinkError(what, 5, {message: 'injected'});

  const step = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const failing = isFailing(what);
    if (failing && !late) throw refusal(what);
    const result = await work();
    if (failing) throw refusal(what);
    return result;
  };
  const stepSync = <T>(what: string, work: () => T): T => {
    const failing = isFailing(what);
    if (failing && !late) throw refusal(what);
    const result = work();
    if (failing) throw refusal(what);
    return result;
  };
  const netlink = (socket: () => Netlink): Netlink => ({
    request: (request) => step(request.what, () => socket().request(request)),
    get: (request, decode) => step(request.what, () => socket().get(request, decode)),
    dump: (request, decode) => step(request.what, () => socket().dump(request, decode)),
    batch: (requests) => step(requests[1]?.what ?? 'batch', () => socket().batch(requests)),
    close: () => socket().close(),
  });
  const route = (socket: () => RouteSocket): RouteSocket => ({family: 'route', ...netlink(socket)});
  const settings = (sysctl: Sysctl): Sysctl => ({
    read: (name) => stepSync(`read ${name}`, () => sysctl.read(name)),
    write: (name, value) => stepSync(`write ${name}`, () => sysctl.write(name, value)),
    ensure: (name, value) => stepSync(`ensure ${name}`, () => sysctl.ensure(name, value)),
  });
  const host: Host = {
    rt: route(() => real.rt),
    nft: netlink(() => real.nft),
    sysctl: settings(real.sysctl),
    sandbox(path): Sandbox {
      const sandbox = stepSync(`open ${path}`, () => real.sandbox(path));
      return {
        netns: sandbox.netns,
        rt: route(() => sandbox.rt),
        sysctl: settings(sandbox.sysctl),
        close: () => sandbox.close(),
        [Symbol.dispose]: () => sandbox.close(),
      };
    },
    isHostNetns: (path) => real.isHostNetns(path),
    close: () => real.close(),
  };
  return {host, steps};
}
