/** A range of tagged VLANs as `vlanTrunk` writes it. */
export interface TrunkEntry {
  readonly id?: number | undefined;
  readonly minID?: number | undefined;
  readonly maxID?: number | undefined;
}

const isVlanId = (id: number) => id >= 1 && id <= 4094;

/**
 * The VLAN ids of `vlanTrunk`, ascending, each once. Throws the reference's sentence for what cannot be
 * read, with the entry it is about.
 */
export function trunkVlans(trunk: readonly TrunkEntry[]): readonly number[] {
  const ids = new Set<number>();
  for (const [i, entry] of trunk.entries()) {
    const {id, minID, maxID} = entry;
    const at = `: vlanTrunk[${i}] is ${JSON.stringify(entry)}; ids go from 1 to 4094`;
    if ((minID === undefined) !== (maxID === undefined)) {
      throw new Error(
        `minID and maxID should be configured simultaneously, ${minID === undefined ? 'minID' : 'maxID'} is missing${at}`,
      );
    }
    if (minID !== undefined && maxID !== undefined) {
      if (!isVlanId(minID)) throw new Error(`incorrect trunk minID parameter${at}`);
      if (!isVlanId(maxID)) throw new Error(`incorrect trunk maxID parameter${at}`);
      if (minID > maxID) throw new Error(`minID is greater than maxID in trunk parameter${at}`);
      for (let vlan = minID; vlan <= maxID; vlan++) ids.add(vlan);
    }
    if (id !== undefined) {
      if (!isVlanId(id)) throw new Error(`incorrect trunk id parameter${at}`);
      ids.add(id);
    }
  }
  return [...ids].sort((a, b) => a - b);
}
