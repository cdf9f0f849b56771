import path from 'node:path';

/** The repository's own directory. */
export const repository = path.resolve(import.meta.dirname, '../..');

/** Where `npm run build` leaves the executables: the CNI_PATH of every test. */
export const pluginDir = path.join(repository, 'dist/bin');

/** Where test-only downloads live; never committed, safe to delete. */
export const cacheDir = path.join(repository, '.cache');
