// What a demo tells, and whether all of it was seen to be true.

let failures = 0;

export function say(text = ''): void {
  console.log(text);
}

/** Runs one check and prints whether it held; what it returns is shown beside it. */
export async function see(claim: string, check: () => Promise<string | void>): Promise<void> {
  try {
    const detail = await check();
    say(`  ✓ ${claim}${detail === undefined || detail === '' ? '' : `: ${detail}`}`);
  } catch (error) {
    failures++;
    say(`  ✗ ${claim}\n      ${String(error).replaceAll('\n', '\n      ')}`);
  }
}

export function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Runs a demo as root; its last line says whether every check held, and so does the exit code: 0 only then. */
export async function runDemo(command: string, main: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) {
    say(`${command} needs root: it makes network namespaces. Nothing of the machine is changed.`);
    process.exitCode = 1;
    return;
  }
  try {
    await main();
  } catch (error) {
    failures++;
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) say(`\n✗ ${cause.message}`);
  }
  say(failures === 0 ? '\nAll of it was seen to be true.' : `\n${failures} of it did not hold.`);
  process.exitCode = failures === 0 ? 0 : 1;
}
