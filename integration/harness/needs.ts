import {existsSync} from 'node:fs';
import avaTest, {type TestFn} from 'ava';

/** What a test may need of the machine, each with the sentence a skipped test shows. */
const needs = {
  root: {met: () => process.getuid?.() === 0, reason: 'needs root'},
  apt: {
    met: () => existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb'),
    reason: 'needs apt-get and dpkg-deb',
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
  const skip = (title: string, ...rest: unknown[]) =>
    (avaTest.skip as (title: string, ...rest: unknown[]) => void)(
      `${title} [skipped: ${missing.join(', ')}]`,
      ...rest,
    );
  return Object.assign(skip, {serial: skip, skip, before: () => {}, after: () => {}}) as unknown as TestFn;
}
