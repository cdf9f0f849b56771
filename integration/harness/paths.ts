import path from 'node:path';

/** The repository's own directory. */
export const repository = path.resolve(import.meta.dirname, '../..');

/** The executables that are tested: what `npm run build` left, or the directory WEFT_TEST_PLUGINS names. */
export const pluginDir = process.env['WEFT_TEST_PLUGINS'] ?? path.join(repository, 'dist/bin');

/** Where test-only downloads live; never committed, safe to delete. */
export const cacheDir = path.join(repository, '.cache');

/** Whether the executables that are tested are native clients, and each test host has an agent that serves them. */
export const isWarm = process.env['WEFT_TEST_WARM'] === '1';
