import type {ExecutionContext} from 'ava';
import {makeHost} from '../../integration/harness/host.ts';
import type {TestHost} from '../../integration/harness/host.ts';
import {openNetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {Netns} from '../../lib/netns/netns.ts';

/** A test host, and a socket in its network namespace. */
export interface NftHost {
  readonly host: TestHost;
  readonly nft: NetfilterSocket;
  /** Another socket in it. */
  readonly open: () => NetfilterSocket;
  /** Runs nft with a script; gives its output. */
  readonly script: (text: string) => Promise<string>;
  /** All that nft lists as JSON, without what differs between two rulesets of equal content. */
  readonly list: () => Promise<unknown[]>;
}

export async function makeNftHost(t: ExecutionContext): Promise<NftHost> {
  const host = await makeHost(t);
  const netns = Netns.open(`/proc/${host.pid}/ns/net`);
  const open = () => {
    const nft = netns.run(() => openNetfilterSocket());
    t.teardown(() => nft.close());
    return nft;
  };
  t.teardown(() => netns.close());
  return {
    host,
    nft: open(),
    open,
    script: async (text) => (await host.run(['nft', '-f', '-'], {stdin: text})).stdout,
    async list() {
      const {stdout} = await host.run(['nft', '-j', 'list', 'ruleset']);
      const {nftables} = JSON.parse(stdout) as {nftables: Record<string, Record<string, unknown>>[]};
      return nftables.flatMap((object) =>
        Object.entries(object)
          .filter(([kind]) => kind !== 'metainfo')
          .map(([kind, body]) => ({kind, ...body, handle: undefined})),
      );
    },
  };
}
