import {spawn} from 'node:child_process';
import {chmodSync, existsSync, globSync, mkdtempSync, rmSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {
  findUnexpectedSkips,
  formatSlowest,
  parseReportLine,
  type ReportedTest,
} from './harness/ava-report.ts';
import {installMode} from './harness/both-modes.ts';
import {ensurePackages, packageSets, type PackageSet} from './harness/debian.ts';
import {repository} from './harness/paths.ts';
import {bootSecondKernel} from './harness/second-kernel.ts';

// `npm test`: unit tests, tests of the real executables, and those that need another kernel; then the ten
// slowest tests, what failed and, as the last line, the counts.

const root = process.getuid?.() === 0;
const debian = existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');
// What tests put into the temporary directory goes with this one.
const temporary = mkdtempSync(path.join(os.tmpdir(), 'weft-test-'));
// Some tests are another user for a moment.
chmodSync(temporary, 0o711);
process.once('exit', () => rmSync(temporary, {recursive: true, force: true}));
const tests: ReportedTest[] = [];
const problems: string[] = [];
/** Said again at the end: who reads only the last page of a long run finds it there. */
const failures: string[] = [];

function say(line: string): void {
  console.log(line);
}

interface Report {
  readonly take: (line: string) => void;
  /** What ava said about the tests that failed, and about the files that died. */
  readonly details: string[];
}

/** Prints what ava prints, and counts its tests. After a rule it says more about those it has named. */
function makeReport(): Report {
  const details: string[] = [];
  let counting = true;
  const take = (line: string): void => {
    say(line);
    if (!counting) details.push(line);
    if (/^\s+─$/.test(line)) counting = false;
    const test = counting ? parseReportLine(line) : undefined;
    if (test !== undefined) tests.push(test);
  };
  return {take, details};
}

interface Run {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

async function runAva(
  phase: string,
  files: readonly string[],
  {flags = [], env = {}}: Run = {},
): Promise<void> {
  if (files.length === 0) return;
  say(`\n=== ${phase}`);
  const from = tests.length;
  const started = performance.now();
  const child = spawn('ava', [...flags, ...files], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {...process.env, FORCE_COLOR: '0', NO_COLOR: '1', TMPDIR: temporary, ...env},
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk));
  const report = makeReport();
  for await (const line of createInterface({input: child.stdout})) report.take(line);
  judge(phase, {code: await ended, from, details: report.details});
  say(`=== ${phase}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

interface Ending {
  readonly code: number | null;
  /** Which of `tests` was the phase's first. */
  readonly from: number;
  readonly details: readonly string[];
}

/** A phase that failed without a failed test of its own (an exception, a time-out) must fail all the same. */
function judge(phase: string, {code, from, details}: Ending): void {
  if (code === 0) return;
  failures.push(`\n=== ${phase}: what failed`, ...details);
  const failed = tests.slice(from).some(({outcome}) => outcome === 'failed');
  if (!failed) problems.push(`${phase}: ended with ${code}`);
}

async function fetchPackages(): Promise<boolean> {
  say('\n=== Debian packages that only tests need (into .cache/, not installed)');
  try {
    for (const set of Object.keys(packageSets) as PackageSet[]) {
      await ensurePackages(set);
      say(`  ${set}: ${packageSets[set].join(', ')}`);
    }
    return true;
  } catch (error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) say(`  ${cause.message}`);
    problems.push('Debian packages could not be fetched');
    return false;
  }
}

async function runSecondKernel(files: readonly string[]): Promise<void> {
  if (files.length === 0) return;
  const phase = "second kernel (Debian's, in qemu)";
  say(`\n=== ${phase}`);
  const from = tests.length;
  const report = makeReport();
  const boot = await bootSecondKernel({
    script: `cd ${repository}
export PATH=${repository}/node_modules/.bin:$PATH CI=true NO_COLOR=1 TERM=xterm WEFT_SECOND_KERNEL=1
ava --serial --timeout=600s ${files.join(' ')}
`,
    timeoutMs: 1_800_000,
    onLine: report.take,
  });
  judge(phase, {code: boot.code, from, details: report.details});
  if (boot.code === null) say(boot.console);
  say(`=== ${phase}: ${(boot.durationMs / 1000).toFixed(1)} s`);
}

/** Tests of plugins that run a second time, with native clients in place of links and an agent on each host. */
const withAgent = [
  'bandwidth',
  'bridge-check',
  'bridge-gc',
  'bridge-layer3',
  'bridge-odd',
  'bridge-status',
  'containerd',
  'firewall',
  'kubernetes-chain',
  'loopback',
  'macspoof',
  'masquerade',
  'podman-chain',
  'portmap',
  'static',
] as const;

async function runWithAgent(): Promise<void> {
  const phase = 'integration, with clients and an agent';
  try {
    const env = {WEFT_TEST_PLUGINS: await installMode('clients'), WEFT_TEST_WARM: '1'};
    const files = withAgent.map((name) => `integration/${name}.test.ts`);
    await runAva(phase, files, {flags: ['--concurrency', '3'], env});
  } catch (error) {
    problems.push(`${phase}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const find = (pattern: string) => globSync(pattern, {cwd: repository}).toSorted();

await runAva('unit', find('test/**/*.test.ts'));
if (!debian) {
  say("\napt-get and dpkg-deb are missing: tests against Debian's packages are left out");
  problems.push('no Debian package tools');
}
const fetched = debian && (await fetchPackages());
await runAva(
  'integration',
  find('integration/**/*.test.ts').filter((file) => !file.includes('second-kernel/')),
  {flags: ['--concurrency', '3']},
);
if (fetched && root) await runWithAgent();
if (fetched) await runSecondKernel(find('integration/second-kernel/*.test.ts'));

const count = (outcome: ReportedTest['outcome']) => tests.filter((test) => test.outcome === outcome).length;
problems.push(...findUnexpectedSkips(tests, {root}).map((title) => `skipped unexpectedly: ${title}`));
say('\nThe slowest tests:');
for (const line of formatSlowest(tests)) say(line);
if (!root) say('\nNot root: tests of the kernel and of runtimes were left out.');
for (const line of failures) say(line);
for (const problem of problems) say(`\n${problem}`);
if (problems.length > 0 || count('failed') > 0 || count('passed') === 0) process.exitCode = 1;
say(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
