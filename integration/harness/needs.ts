import {existsSync} from 'node:fs';
import avaTest, {type TestFn} from 'ava';

/** What a test may need of the machine, each with the sentence a skipped test shows. */
const needs = {
  root: {met: () => process.getuid?.() === 0, reason: 'needs root'},
  apt: {
    met: () => existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb'),
    reason: 'needs apt-get and dpkg-deb',
  },
  cc: {
    met: () => (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(`${folder}/cc`)),
    reason: 'needs a C compiler',
  },
} as const;

export type Need = keyof typeof needs;

/**
 * ava's `test` for what needs something of the machine: where that is missing the test is skipped and its
 * title says why. The test run counts only "needs root" as an expected skip.
 */
export function testWith(...wanted: readonly Need[]): TestFn {
  const missing = wanted.filter((need) => !needs[need].met()).map((need) => needs[need].reason);
  if (missing.length === 0) return avaTest;
  const because = `[skipped: ${missing.join(', ')}]`;
  const skip = (...[first, second, ...rest]: unknown[]) => {
    const macro = [first, second].find((each) => isTitled(each));
    const given = typeof first === 'string' ? first : undefined;
    const args = given === undefined ? [second, ...rest] : rest;
    avaTest.skip(`${macro?.title(given, ...args) ?? given ?? ''} ${because}`, () => {});
  };
  const nothing = () => {};
  const hooks = {before: nothing, after: nothing, beforeEach: nothing, afterEach: nothing};
  return Object.assign(skip, {...hooks, serial: skip, skip, macro: avaTest.macro}) as unknown as TestFn;
}

function isTitled(value: unknown): value is {title(given: string | undefined, ...args: unknown[]): string} {
  return typeof value === 'object' && value !== null && 'title' in value && typeof value.title === 'function';
}
