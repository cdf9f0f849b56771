import {agent} from './agent.ts';
import {dns} from './dns.ts';
import {doctor} from './doctor.ts';
import {UsageError, type Command, type Context} from './command.ts';
import {gc} from './gc.ts';
import {install} from './install.ts';
import {overlay} from './overlay.ts';
import {service} from './service.ts';
import {status} from './status.ts';
import {uninstall} from './uninstall.ts';
import {version} from './version.ts';

/** The commands of `weft`, in the order of its help. */
const commands: Readonly<Record<string, Command>> = {
  install,
  uninstall,
  status,
  doctor,
  gc,
  agent,
  overlay,
  service,
  dns,
  version,
};

/** Runs `weft <command> …`; returns the exit code. `args` of the context are all arguments. */
export async function weft(context: Context): Promise<number> {
  const [name = 'help', ...args] = context.args;
  if (name === 'help' || name === '--help' || name === '-h') return help(context, args[0]);
  const command = findCommand(name === '--version' ? 'version' : name);
  if (command === undefined) return refuse(context, name);
  if (args.includes('--help') || args.includes('-h')) return help(context, name);
  try {
    return await command.run({...context, args});
  } catch (error) {
    context.err(`weft ${name}: ${explain(error)}`);
    if (!isUsageError(error)) return 1;
    context.err(`\`weft help ${name}\` shows how it is called`);
    return 2;
  }
}

function findCommand(name: string): Command | undefined {
  return Object.hasOwn(commands, name) ? commands[name] : undefined;
}

function refuse({err}: Context, name: string): number {
  err(`weft: there is no command "${name}"; \`weft help\` lists them`);
  return 2;
}

function help(context: Context, name = 'help'): number {
  const {out} = context;
  if (name !== 'help') {
    const command = findCommand(name);
    if (command === undefined) return refuse(context, name);
    out(`usage: ${command.usage}`);
    return 0;
  }
  out('weft: CNI plugins that connect containers, and the tools around them');
  out('');
  out('usage: weft <command> [options]');
  out('');
  const width = Math.max(...Object.keys(commands).map((each) => each.length), 'help'.length);
  for (const [each, {summary}] of Object.entries(commands)) out(`  ${each.padEnd(width)}  ${summary}`);
  out(`  ${'help'.padEnd(width)}  print this, or \`weft help <command>\` all about one`);
  return 0;
}

/** node:util's parseArgs has its own class for each mistake; their codes have one beginning. */
function isUsageError(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_');
}

/** The sentence and those of its causes, without a stack. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${explain(error.cause)}`;
}
