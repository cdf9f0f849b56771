import {parseArgs} from 'node:util';

/** The parts of a run, in the order in which they are measured. */
export const parts = ['calls', 'podman', 'crowd', 'memory', 'full'] as const;
export type Part = (typeof parts)[number];

export interface Options {
  /** Directory of the plugins to compare with; undefined: Debian's. */
  readonly peer: string | undefined;
  /** File for the JSON. */
  readonly json: string | undefined;
  readonly rounds: number;
  readonly only: readonly Part[];
  /** Numbers of containers on a full node. */
  readonly sizes: readonly number[];
  /** Up to how many containers the peer is asked: it takes minutes to bring up thousands. */
  readonly peerSize: number;
}

const usage = `npm run bench -- [options]

  --peer DIR        the plugins to compare with (default: Debian's containernetworking-plugins)
  --json FILE       write all numbers there
  --rounds N        how often each call is made (default 30)
  --quick           5 rounds, and no more than 400 containers
  --only PARTS      of ${parts.join(', ')}; separated by commas
  --peer-size N     up to how many containers the peer is measured on a full node (default 400)`;

/** Reads the command line. Throws an Error with a sentence and the usage. */
export function parseOptions(args: readonly string[]): Options {
  const {values} = parseArgs({
    args: [...args],
    options: {
      peer: {type: 'string'},
      json: {type: 'string'},
      rounds: {type: 'string'},
      quick: {type: 'boolean', default: false},
      only: {type: 'string', default: parts.join()},
      'peer-size': {type: 'string', default: '400'},
    },
  });
  const only = values.only.split(',');
  const unknown = only.find((each) => !parts.includes(each as Part));
  if (unknown !== undefined) throw new Error(`--only: there is no part "${unknown}"\n\n${usage}`);
  return {
    peer: values.peer,
    json: values.json,
    rounds: parseCount('--rounds', values.rounds ?? (values.quick ? '5' : '30')),
    only: only as Part[],
    sizes: values.quick ? [300, 400] : [300, 400, 2000],
    peerSize: parseCount('--peer-size', values['peer-size']),
  };
}

function parseCount(name: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new Error(`${name}: ${JSON.stringify(text)} is not a number above 0\n\n${usage}`);
}
