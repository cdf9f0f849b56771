import type {Release} from './release.ts';

/** Files embedded in the executable. */
export interface Assets {
  list(): readonly string[];
  read(key: string): string;
  readBytes(key: string): Buffer;
}

/** The node agent: a bundle of its own, which no other command pays for. */
export interface AgentProgram {
  /** Throws for a configuration that cannot be used; without a name it is the usual file's, if that is there. */
  check(configFile: string | undefined): void;
  /** Runs until it is told to end; gives the exit code. */
  run(options: {
    readonly configFile: string | undefined;
    readonly env: Readonly<Record<string, string | undefined>>;
  }): Promise<number>;
}

/** What a command of the `weft` tool gets: everything it takes from its process, so that tests can give it theirs. */
export interface Context {
  /** The arguments behind the command's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly release: Release;
  /** Absolute path of the running executable. */
  readonly program: string;
  /** Every name a plugin answers to. */
  readonly plugins: readonly string[];
  readonly assets: Assets;
  readonly agent: () => AgentProgram;
  /** Prints a line for the user. */
  readonly out: (line: string) => void;
  /** Prints a line about what went wrong or is to be known. */
  readonly err: (line: string) => void;
}

/** One command of the `weft` tool: a file of its own in cli/, and a row in the table of cli/weft.ts. */
export interface Command {
  /** One line for `weft help`. */
  readonly summary: string;
  /** All of `weft help <command>`: how it is called and what its options are. */
  readonly usage: string;
  /** Returns the exit code. What it throws is printed as one sentence, with exit code 1. */
  run(context: Context): Promise<number>;
}

/** A command was called wrongly: exit code 2, and a pointer to its help. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
