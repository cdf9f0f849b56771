import type {Host} from '../../lib/host.ts';
import type {Reply, Request} from '../../lib/netlink/message.ts';
import type {Netlink} from '../../lib/netlink/netlink.ts';

/**
 * The host as it is looked at once: lists of the same thing are asked of the kernel once, because every attachment looks at
 * the same few chains. To be dropped after one look.
 */
export function rememberingLists(host: Host): Host {
  const {nft} = host;
  const lists = new Map<string, Promise<unknown[]>>();
  const remembering: Netlink = {
    request: (request) => nft.request(request),
    get: (request, decode) => nft.get(request, decode),
    batch: (requests, options) => nft.batch(requests, options),
    close: () => {},
    dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]> {
      // The text names the object; each is decoded in one way.
      const list = lists.get(request.what) ?? nft.dump(request, decode);
      lists.set(request.what, list);
      return list as Promise<T[]>;
    },
  };
  return {
    get rt() {
      return host.rt;
    },
    nft: remembering,
    sysctl: host.sysctl,
    remover: host.remover,
    sandbox: (path) => host.sandbox(path),
    isHostNetns: (path) => host.isHostNetns(path),
    close: () => {},
  };
}
