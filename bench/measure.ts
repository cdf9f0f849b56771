import type {Conflist} from '../integration/harness/chain.ts';
import {comingNetwork, manyNetworks, statusNetwork} from './networks.ts';
import type {Verb} from './protocol.ts';
import type {Results} from './results.ts';
import type {Site} from './site.ts';
import {fewPresent} from './targets.ts';

/** Sites of all kinds; every measurement goes round them, so that what else the machine does falls on all alike. */
export interface Bench {
  readonly sites: readonly Site[];
  readonly results: Results;
  readonly rounds: number;
}

/** The first rounds fill caches. */
const warmUps = 2;
/** Containers that stay are numbered from 0; the one that comes and goes, and crowds, are above all of these. */
const comer = 5000;
const crowdStart = 6000;
const crowdSize = 100;
const fillWidth = 8;

/** An agent is at work for weeks: it has served as many calls of each verb before it is measured. */
const servedBefore = 500;

/** The first calls that an agent serves, while it compiles what it runs. */
export async function measureYoung(bench: Bench, network: Conflist): Promise<void> {
  for (const site of bench.sites.filter(({kind}) => kind === 'warm'))
    for (let round = 0; round < bench.rounds; round++)
      for (const verb of ['ADD', 'DEL'] as const)
        await measureOne(bench, site, {name: 'first calls', verb, network, present: 0, isCounted: true});
}

async function serveBefore(sites: readonly Site[], network: Conflist, verbs: readonly Verb[]): Promise<void> {
  for (const site of sites.filter(({kind}) => kind === 'warm'))
    for (let round = 0; round < servedBefore; round++)
      for (const verb of verbs) await site.ask({kind: 'chain', verb, network, container: comer});
}

/** One container comes and goes on an otherwise empty host. */
export async function measureCalls(bench: Bench, name: string, network: Conflist): Promise<void> {
  const verbs: readonly Verb[] = [
    'ADD',
    'CHECK',
    'DEL',
    ...(name === 'plain' ? (['VERSION', 'STATUS'] as const) : []),
  ];
  await serveBefore(bench.sites, network, ['ADD', 'CHECK', 'DEL']);
  for (let round = -warmUps; round < bench.rounds; round++)
    for (const site of bench.sites)
      for (const verb of verbs) {
        const asked = verb === 'STATUS' ? statusNetwork : network;
        await measureOne(bench, site, {name, verb, network: asked, present: 0, isCounted: round >= 0});
      }
}

/** One more comes and goes where `size` containers are, and where a few are. */
export async function measureFull(
  bench: Bench,
  {
    small,
    large,
    size,
  }: {readonly small: readonly Site[]; readonly large: readonly Site[]; readonly size: number},
): Promise<void> {
  await serveBefore([...small, ...large], comingNetwork, ['ADD', 'DEL']);
  for (let round = -warmUps; round < bench.rounds; round++)
    for (const [sites, present] of [
      [small, fewPresent],
      [large, size],
    ] as const)
      for (const site of sites)
        for (const verb of ['ADD', 'DEL'] as const) {
          const one = {name: `full ${size}`, verb, network: comingNetwork, present, isCounted: round >= 0};
          await measureOne(bench, site, one);
        }
}

interface One {
  readonly name: string;
  readonly verb: Verb;
  readonly network: Conflist;
  readonly present: number;
  readonly isCounted: boolean;
}

async function measureOne({results}: Bench, site: Site, one: One): Promise<void> {
  const {name, verb, network, present, isCounted} = one;
  const subject = {case: name, verb, kind: site.kind, present};
  if (results.hasFailed(subject)) return;
  try {
    const answer = await site.ask({kind: 'chain', verb, network, container: comer});
    if (isCounted) results.add(subject, answer);
  } catch (error) {
    // Not every peer has every verb; without ADD and DEL nothing can be compared.
    if (site.kind !== 'peer' || verb === 'ADD' || verb === 'DEL') throw error;
    results.fail(subject, (error as Error).message);
  }
}

/** A hundred containers come at once, and go at once. */
export async function measureCrowd(bench: Bench, network: Conflist): Promise<void> {
  const crowd = {networks: [network], from: crowdStart, to: crowdStart + crowdSize, width: crowdSize};
  for (let round = -1; round < Math.ceil(bench.rounds / 6); round++)
    for (const site of bench.sites)
      for (const verb of ['ADD', 'DEL'] as const) {
        const answer = await site.ask({kind: 'crowd', verb, ...crowd});
        if (round >= 0) bench.results.add({case: 'crowd', verb, kind: site.kind, present: 0}, answer);
      }
}

/** What a call needs for itself, and whether many fit where a container runtime's service has little memory. */
export async function measureMemory({sites, results}: Bench, network: Conflist): Promise<void> {
  for (const site of sites) {
    const {kind} = site;
    if (kind === 'warm') results.memory.push({what: 'agent, idle', kind, ...(await readAgentMemory(site))});
    for (const verb of ['ADD', 'CHECK', 'DEL'] as const) {
      const found: number[] = [];
      for (let i = 0; i < 3; i++) {
        const around = {kind: 'chain', network, container: comer} as const;
        if (verb !== 'ADD') await site.ask({...around, verb: 'ADD'});
        const {privateBytes = 0} = await site.ask({kind: 'memory', verb, network, container: comer});
        found.push(privateBytes);
        if (verb !== 'DEL') await site.ask({...around, verb: 'DEL'});
      }
      results.memory.push({what: verb, kind, bytes: Math.max(...found)});
    }
    const crowd = {
      kind: 'crowd',
      networks: [network],
      from: crowdStart,
      to: crowdStart + 30,
      width: 30,
    } as const;
    const {isOutOfMemory} = await site.ask({...crowd, verb: 'ADD', memoryLimit: 512 * 2 ** 20});
    results.fits[kind] = isOutOfMemory === false;
    await site.ask({...crowd, verb: 'DEL'});
  }
}

export async function readAgentMemory(site: Site): Promise<{readonly bytes: number}> {
  const {privateBytes = 0} = await site.ask({kind: 'agentMemory'});
  return {bytes: privateBytes};
}

/** Namespaces for the containers that come and go. */
export async function prepare(site: Site): Promise<void> {
  await site.ask({kind: 'containers', from: comer, to: comer + 1});
  await site.ask({kind: 'containers', from: crowdStart, to: crowdStart + crowdSize});
}

/** Brings containers up until there are `to`. */
export async function fill(
  site: Site,
  {from, to}: {readonly from: number; readonly to: number},
): Promise<void> {
  await site.ask({kind: 'containers', from, to});
  await site.ask({kind: 'crowd', verb: 'ADD', networks: manyNetworks, from, to, width: fillWidth});
}
