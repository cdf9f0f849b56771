import {makeNftHost} from '../test/helpers/nft-host.ts';
import {
  checkMacSpoofCheck,
  ensureMacSpoofCheck,
  gcMacSpoofCheck,
  removeMacSpoofCheck,
} from '../plugins/bridge/macspoof.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root', 'apt');

const owner = (containerId: string, network = 'mynet') => ({network, containerId, ifName: 'eth0'});
const check = {hostVeth: 'veth1', mac: '02:00:00:00:00:01'};

// What the reference makes for container "cid1", interface "eth0" (with a comment of ours at a chain).
const expected = `table bridge nat {
	chain PREROUTING {
		type filter hook prerouting priority dstnat; policy accept;
		iifname "veth1" jump cni-br-iface-cid1-eth0 comment "macspoofchk-cid1-eth0"
	}

	chain cni-br-iface-cid1-eth0 {
		comment "d23676b4f2d9fe04-0b65a318f52e521b, net: mynet, if: eth0, id: cid1"
		jump cni-br-iface-cid1-eth0-mac comment "macspoofchk-cid1-eth0"
	}

	chain cni-br-iface-cid1-eth0-mac {
		ether saddr 02:00:00:00:00:01 return comment "macspoofchk-cid1-eth0"
		drop comment "macspoofchk-cid1-eth0"
	}
}
`;
const skeleton = `table bridge nat {
	chain PREROUTING {
		type filter hook prerouting priority dstnat; policy accept;
	}
}
`;

test('the check has the objects of the reference, made once however often it is asked for', async (t) => {
  const {host, nft} = await makeNftHost(t);
  const ruleset = async () => (await host.run(['nft', 'list', 'ruleset'])).stdout;
  await ensureMacSpoofCheck({nft}, owner('cid1'), {...check, hostVeth: 'veth9', mac: '02:00:00:00:00:09'});
  await ensureMacSpoofCheck({nft}, owner('cid1'), check);
  t.is(await ruleset(), expected);
  await checkMacSpoofCheck({nft}, owner('cid1'), check);
  const error = await t.throwsAsync(
    checkMacSpoofCheck({nft}, owner('cid1'), {...check, mac: '02:00:00:00:00:02'}),
  );
  t.regex(error.message, /lacks the rule "ether saddr 02:00:00:00:00:02 return"/);
  await ensureMacSpoofCheck({nft}, owner('cid2'), {hostVeth: 'veth2', mac: '02:00:00:00:00:02'});
  await removeMacSpoofCheck({nft}, owner('cid2'));
  t.is(await ruleset(), expected);
  await removeMacSpoofCheck({nft}, owner('cid1'));
  t.is(await ruleset(), skeleton);
  await removeMacSpoofCheck({nft}, owner('cid1'));
  t.is(await ruleset(), skeleton);
});

test('what the reference made is removed, also when half of it is gone', async (t) => {
  const {host, nft, script} = await makeNftHost(t);
  await script(expected.replace(/\t\tcomment ".*"\n/, ''));
  await removeMacSpoofCheck({nft}, owner('cid1'));
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, skeleton);
  await script('add chain bridge nat cni-br-iface-cid1-eth0-mac');
  await removeMacSpoofCheck({nft}, owner('cid1'));
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, skeleton);
});

test('garbage collection removes the checks of its network that are not kept', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await ensureMacSpoofCheck({nft}, owner('cid1'), check);
  await ensureMacSpoofCheck({nft}, owner('stale'), {hostVeth: 'veth2', mac: '02:00:00:00:00:02'});
  await ensureMacSpoofCheck({nft}, owner('foreign', 'other'), {...check, hostVeth: 'veth3'});
  await gcMacSpoofCheck({nft}, 'mynet', [{containerId: 'cid1', ifName: 'eth0'}]);
  await gcMacSpoofCheck({nft}, 'other', []);
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, expected);
});

test('nothing is made by removing', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await removeMacSpoofCheck({nft}, owner('cid1'));
  await gcMacSpoofCheck({nft}, 'mynet', []);
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, '');
});
