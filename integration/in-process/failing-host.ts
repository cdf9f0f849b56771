import {createHost, type Host, type Sandbox} from '../../lib/host.ts';
import {NetlinkError} from '../../lib/netlink/error.ts';
import type {Request} from '../../lib/netlink/message.ts';
import type {Netlink} from '../../lib/netlink/netlink.ts';
import {LinkRemover} from '../../lib/netlink/route/link-remover.ts';

/** How the kernel fails a request: it never hears of it, or it does what it was asked and the answer is lost. */
export type Loss = 'request' | 'answer';

const eio = 5;

/** Counts the requests of a verb and lets one of them fail. */
export class FailingKernel {
  readonly #failing: number;
  readonly #loss: Loss;
  /** The requests so far, in words. */
  readonly requests: string[] = [];

  constructor(failing: number, loss: Loss) {
    this.#failing = failing;
    this.#loss = loss;
  }

  /** A real host whose sockets all count. */
  open(): Host {
    const host = createHost();
    const wrapSandbox = (sandbox: Sandbox): Sandbox => ({
      netns: sandbox.netns,
      sysctl: sandbox.sysctl,
      inside: (work) => sandbox.inside(work),
      rt: this.#wrap(sandbox.rt),
      close: () => sandbox.close(),
      [Symbol.dispose]: () => sandbox.close(),
    });
    const wrap = <T extends Netlink>(socket: T) => this.#wrap(socket);
    return {
      get rt() {
        return wrap(host.rt);
      },
      get nft() {
        return wrap(host.nft);
      },
      sysctl: host.sysctl,
      remover: new LinkRemover(() => wrap(host.rt)),
      sandbox: (path) => wrapSandbox(host.sandbox(path)),
      isHostNetns: (path) => host.isHostNetns(path),
      close: () => host.close(),
    };
  }

  #wrap<T extends Netlink>(socket: T): T {
    return new Proxy(socket, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== 'function') return value;
        const method = value.bind(target) as (...args: unknown[]) => Promise<unknown>;
        if (!['request', 'get', 'dump', 'batch'].includes(String(key))) return method;
        return (...args: unknown[]) => this.#pass(method, args);
      },
    });
  }

  async #pass(method: (...args: unknown[]) => Promise<unknown>, args: unknown[]): Promise<unknown> {
    const asked = args[0] as Request | readonly Request[];
    const what = Array.isArray(asked)
      ? asked.map((each: Request) => each.what).join(', ')
      : (asked as Request).what;
    this.requests.push(what);
    if (this.requests.length - 1 !== this.#failing) return method(...args);
    const lost = new NetlinkError(what, eio, {message: 'injected'});
    if (this.#loss === 'answer') await method(...args).catch(() => {});
    throw lost;
  }
}
