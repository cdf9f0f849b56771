import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {addChain, delChain, type Conflist} from './harness/chain.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const capabilityArgs = {
  portMappings: [
    {hostPort: 8080, containerPort: 80, protocol: 'tcp'},
    {hostPort: 5353, containerPort: 53, protocol: 'udp', hostIP: '127.0.0.1'},
  ],
  bandwidth: {ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 4_000_000, egressBurst: 400_000},
};

/** Everything nftables holds after a chain's ADD, as nft writes it; WEFT_UPDATE_GOLDEN writes the files anew. */
const hasGoldenRuleset = test.macro(async (t, name: 'podman' | 'kubernetes') => {
  const conflist = JSON.parse(
    await readFile(path.join(repository, `conf/${name}.conflist`), 'utf8'),
  ) as Conflist;
  const host = await makeHost(t);
  const call = {conflist, capabilityArgs, containerId: 'golden', netns: await host.addNetns('pod')};
  const ruleset = async () => (await host.run(['nft', '-s', 'list', 'ruleset'])).stdout;
  const result = await addChain(host, call);
  const golden = path.join(import.meta.dirname, `golden/${name}-chain.nft`);
  if (process.env['WEFT_UPDATE_GOLDEN'] !== undefined) await writeFile(golden, await ruleset());
  t.is(await ruleset(), await readFile(golden, 'utf8'));

  // A second container changes no rule; without it everything is as before.
  const before = await takeSnapshot(host);
  const second = {
    ...call,
    capabilityArgs: {...capabilityArgs, portMappings: [{hostPort: 8081, containerPort: 80, protocol: 'tcp'}]},
    containerId: 'second',
    netns: await host.addNetns('second'),
  };
  const withoutElements = async () => (await ruleset()).replaceAll(/\s*elements = \{[^}]*\}/g, '');
  const rules = await withoutElements();
  const secondResult = await addChain(host, second);
  t.is(await withoutElements(), rules);
  await delChain(host, second, secondResult);
  await assertNothingLeft(t, host, before, [
    /^mount /,
    /^file .*(last_reserved_ip|\/run\/weft\/|\/run\/netns\/)/,
  ]);
  await delChain(host, call, result);
  t.false((await ruleset()).includes('id: golden'));
});

test("the whole ruleset of podman's usual chain", hasGoldenRuleset, 'podman');
test("the whole ruleset of Kubernetes' usual chain", hasGoldenRuleset, 'kubernetes');
