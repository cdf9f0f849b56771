/** Where services' addresses come from unless the configuration says otherwise: one range of each family. */
export const defaultServiceRanges: readonly string[] = ['10.96.0.0/16', 'fd00:96::/112'];
