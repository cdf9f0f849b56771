/**
 * The kernel reads the first line of a script up to here: 127 bytes before Linux 5.1, 255 since. The line may not be cut.
 */
export const firstLineLimit = 127;

/**
 * What stands in the plugin folder under a plugin's name: a script whose interpreter is weft, to which the kernel appends
 * the script's own path. A small file of its own, because installers follow links: `cp -f` onto a link would overwrite
 * weft itself. Throws where the path cannot be written in such a line.
 */
export function formatStub({program, trailer}: {readonly program: string; readonly trailer: string}): string {
  const line = `#!${program} --plugin`;
  if (!program.startsWith('/') || /\s/.test(program)) {
    throw new Error(
      `${JSON.stringify(program)} cannot be called by a script: it must be an absolute path without spaces`,
    );
  }
  if (Buffer.byteLength(line) > firstLineLimit) {
    throw new Error(
      `${program} is too long for the first line of a script (${Buffer.byteLength(line)} bytes of ${firstLineLimit}): ` +
        'choose a shorter --bin-dir',
    );
  }
  return `${line}\n${trailer}`;
}
