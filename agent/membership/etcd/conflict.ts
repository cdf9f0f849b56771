import {parseLeaseKey} from './flannel-lease.ts';
import type {Layout} from './layout.ts';
import {formatSubnets} from './members.ts';

/** Why this host cannot have what is its own: nothing is given up, people have to decide. */
export class ConflictError extends Error {
  override readonly name = 'ConflictError';
}

/** A conflict about subnets, `name` being the last part of their key: what is wrong, and the two ways out. */
export function conflictOf(
  name: string,
  why: string,
  {layout, nodeId}: {readonly layout: Layout; readonly nodeId: string},
): ConflictError {
  return new ConflictError(
    `subnet ${formatSubnets(parseLeaseKey(name) ?? [])} is this host's (${nodeId}), but ${why}; ` +
      `remove ${layout.root}subnets/\u2026 of the wrong one, or stop the containers here, remove ${layout.node(nodeId)} ` +
      'and start the agent again to get another',
  );
}
