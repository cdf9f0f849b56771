import * as z from 'zod/mini';

/** A text that has to be of some form: `expected` completes "expected ...", for the message. */
export function textOf(expected: string, holds: (text: string) => boolean) {
  return z.string().check(
    z.refine(holds, {
      error: ({input}) => `expected ${expected}, found ${JSON.stringify(input)}`,
    }),
  );
}

/** A path that means the same from every working folder. */
export const absolutePath = textOf(
  'a path that begins with "/"',
  (path) => path.startsWith('/') && !path.includes('\0'),
);
