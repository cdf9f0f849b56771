import * as z from 'zod/mini';

/** A path that means the same from every working folder. */
export const absolutePath = z
  .string()
  .check(
    z.refine((path) => path.startsWith('/') && !path.includes('\0'), 'expected a path that begins with "/"'),
  );
