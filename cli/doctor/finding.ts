/** `problem`: containers lack something now. `warning`: they will, or something is odd. `ok`: looked at, nothing found. */
export type Severity = 'ok' | 'warning' | 'problem';

/** What one check says. */
export interface Finding {
  readonly severity: Severity;
  /** What was looked at, in a word or two. */
  readonly subject: string;
  /** One sentence with the values found. */
  readonly message: string;
  /** What to do about it; absent where nothing is to be done. */
  readonly remedy?: string | undefined;
}

/** Makes the findings of one subject. */
export function about(subject: string): {
  readonly ok: (message: string) => Finding;
  readonly warning: (message: string, remedy?: string) => Finding;
  readonly problem: (message: string, remedy?: string) => Finding;
} {
  return {
    ok: (message) => ({severity: 'ok', subject, message}),
    warning: (message, remedy) => ({severity: 'warning', subject, message, remedy}),
    problem: (message, remedy) => ({severity: 'problem', subject, message, remedy}),
  };
}

const marks: Readonly<Record<Severity, string>> = {ok: 'ok', warning: 'WARN', problem: 'FAIL'};

/** The findings as lines for people; remedies stand below what they mend. */
export function formatFindings(findings: readonly Finding[]): string[] {
  const width = Math.max(0, ...findings.map(({subject}) => subject.length));
  const indent = ' '.repeat(4 + 2 + width + 2);
  return findings.flatMap(({severity, subject, message, remedy}) => [
    `${marks[severity].padEnd(4)}  ${subject.padEnd(width)}  ${message}`,
    ...(remedy === undefined ? [] : [`${indent}-> ${remedy}`]),
  ]);
}
