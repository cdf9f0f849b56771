import {fileURLToPath} from 'node:url';

/** The repository, without a slash at its end. */
export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** Intermediate files of this build alone; removed at its end. */
export const workDir = `${root}/dist/build-${process.pid}`;

/** What the build leaves: the executable, the libraries beside it, and a link for each name. */
export const binDir = `${root}/dist/bin`;

/** Where the lines of the script in the start-up snapshot come from. */
export const mapFile = `${root}/dist/weft.cjs.map`;

/** Downloads, kept between builds. */
export const cacheDir = `${root}/.cache/build`;
