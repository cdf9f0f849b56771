import {createHash} from 'node:crypto';
import type {Target} from './slots.ts';

// Maglev hashing (Eisenbud et al., NSDI 2016, 3.4): each target prefers the slots in an order of its own, and they take turns. When
// one comes or goes, few slots of the others change hands, so that most clients stay where they are.

/** Prime, and about a hundred times more than targets usually are. */
export const maglevSize = 251;

/** A table of the next prime size that gives every target slots. */
const sizes = [maglevSize, 1021, 4093, 16_381];

export function planMaglev(targets: readonly Target[]): readonly Target[] {
  if (targets.length === 0) return [];
  const size = sizes.find((each) => each > targets.length * 2) ?? sizes.at(-1)!;
  const orders = targets.map((target) => preference(target, size));
  const most = Math.max(...targets.map(({weight}) => weight));
  const slots: (Target | undefined)[] = Array.from({length: size});
  const next = targets.map(() => 0);
  const credit = targets.map(() => 0);
  let filled = 0;
  for (;;) {
    for (const [i, target] of targets.entries()) {
      // The heaviest take a slot in every round, others in fewer.
      credit[i]! += target.weight / most;
      if (credit[i]! < 1) continue;
      credit[i]! -= 1;
      const {offset, skip} = orders[i]!;
      let slot = (offset + next[i]! * skip) % size;
      while (slots[slot] !== undefined) slot = (offset + ++next[i]! * skip) % size;
      slots[slot] = target;
      if (++filled === size) return slots as readonly Target[];
    }
  }
}

/** Where a target begins, and how far it jumps; a prime size makes it see every slot. */
function preference({address, port}: Target, size: number): {readonly offset: number; readonly skip: number} {
  const digest = createHash('sha256').update(`${address} ${port}`).digest();
  return {offset: digest.readUInt32BE(0) % size, skip: (digest.readUInt32BE(4) % (size - 1)) + 1};
}
