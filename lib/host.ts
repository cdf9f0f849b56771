import type {Netlink} from './netlink/netlink.ts';
import {LinkRemover, type LinkRemoving} from './netlink/route/link-remover.ts';
import {openNetfilterSocket} from './netlink/nft/socket.ts';
import {openRouteSocket, type RouteSocket} from './netlink/route/socket.ts';
import {keepHome, Netns} from './netns/netns.ts';
import {OwnProcfs} from './netns/procfs.ts';
import {sysctl, sysctlBelow, type Sysctl} from './netns/sysctl.ts';

/**
 * What a verb reaches the kernel through. Plugins get it as an argument and open nothing themselves: so the agent can keep
 * the sockets open between calls, and tests can make the kernel refuse any single request.
 */
export interface Host {
  /** Links, addresses and routes of the namespace the process began in; opened when first used. */
  readonly rt: RouteSocket;
  /** nftables of that namespace; opened when first used. */
  readonly nft: Netlink;
  /** Settings of that namespace. */
  readonly sysctl: Sysctl;
  /** Links of containers go by it: beside other work, and together with those of other calls. */
  readonly remover: LinkRemoving;
  /**
   * The namespace of a container: fails with NetnsNotFoundError when its path is gone, else with the reference's messages
   * (lib/netns/netns.ts). Close it, `using sandbox = host.sandbox(path)`.
   */
  sandbox(path: string): Sandbox;
  /** Whether the path is the namespace that `rt` is in. Throws as `sandbox` does. */
  isHostNetns(path: string): boolean;
  close(): void;
}

export interface Sandbox extends Disposable {
  readonly netns: Netns;
  /** Links, addresses and routes of the container; opened when first used. */
  readonly rt: RouteSocket;
  /** The container's settings. */
  readonly sysctl: Sysctl;
  /** Several settings in one stay in the container's namespace. Synchronous, as Netns.run. */
  inside<T>(work: (sysctl: Sysctl) => T): T;
  close(): void;
}

export interface HostOptions {
  readonly timeoutMs?: number;
  /** Whether it serves calls that happen at the same time. */
  readonly manyCalls?: boolean;
}

/** The real one. Cheap until something is used; after an error that closed a socket, the next use opens a new one. */
export function createHost({timeoutMs = 5000, manyCalls = false}: HostOptions = {}): Host {
  let rt: ReturnType<typeof openRouteSocket> | undefined;
  let nft: ReturnType<typeof openNetfilterSocket> | undefined;
  if (manyCalls) keepHome();
  const procfs = manyCalls ? new OwnProcfs() : undefined;
  const settings = procfs ? sysctlBelow(() => procfs.sys()) : sysctl;
  const route = () => {
    if (!rt || rt.closed) rt = openRouteSocket({timeoutMs});
    return rt;
  };
  return {
    get rt() {
      return route();
    },
    remover: new LinkRemover(route, {mostLooks: manyCalls ? Infinity : 1}),
    get nft() {
      if (!nft || nft.closed) nft = openNetfilterSocket({timeoutMs});
      return nft;
    },
    sysctl: settings,
    sandbox: (path) => openSandbox(Netns.open(path), {timeoutMs, settings}),
    isHostNetns(path) {
      using netns = Netns.open(path);
      using own = Netns.current();
      return own.sameAs(netns);
    },
    close() {
      rt?.close();
      nft?.close();
      procfs?.close();
    },
  };
}

/** Takes over `netns`: closing the sandbox closes it. */
function openSandbox(
  netns: Netns,
  {timeoutMs, settings}: {readonly timeoutMs: number; readonly settings: Sysctl},
): Sandbox {
  let rt: ReturnType<typeof openRouteSocket> | undefined;
  const close = () => {
    rt?.close();
    netns.close();
  };
  return {
    netns,
    get rt() {
      if (!rt || rt.closed) rt = netns.run(() => openRouteSocket({timeoutMs, isBrief: true}));
      return rt;
    },
    sysctl: {
      read: (name) => netns.run(() => settings.read(name)),
      write: (name, value) => netns.run(() => settings.write(name, value)),
      ensure: (name, value) => netns.run(() => settings.ensure(name, value)),
    },
    inside: (work) => netns.run(() => work(settings)),
    close,
    [Symbol.dispose]: close,
  };
}
