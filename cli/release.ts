/** Which build of weft this is. */
export interface Release {
  readonly version: string;
  /** Hash of the program's own code: two builds of one version differ in it if they behave differently. */
  readonly id: string;
}

/**
 * The last line of every file that stands for a plugin of this very build (the stubs of `weft install`).
 * Whoever finds it at the end of a file may run that plugin in its own process instead.
 */
export function formatTrailer({version, id}: Release): string {
  return `# weft ${version} ${id}\n`;
}
