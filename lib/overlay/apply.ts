import {isExists, isNotFound, NetlinkError} from '../netlink/error.ts';
import {pipeline} from '../netlink/pipeline.ts';
import type {RouteSocket} from '../netlink/route/socket.ts';
import {requestOf, type Operation} from './operation.ts';

/** An operation that the kernel refused. */
export interface FailedOperation {
  readonly operation: Operation;
  readonly error: NetlinkError;
}

/** How a plan fared. */
export interface Applied {
  readonly done: number;
  readonly failed: readonly FailedOperation[];
  /** The first error of each peer that something failed for. */
  readonly failedPeers: ReadonlyMap<string, NetlinkError>;
  /** A device is gone or down: everything has to be looked at anew, the devices first. */
  readonly deviceGone: boolean;
}

/**
 * Carries out operations in their order; what fails for one peer keeps nothing from the others. What is removed already, and
 * what is there already, is done. Errors of the socket itself (lost messages, no answer) are those of each operation.
 */
export async function applyOperations(rt: RouteSocket, operations: readonly Operation[]): Promise<Applied> {
  const errors = await pipeline(rt, operations.map(requestOf));
  const failed: FailedOperation[] = [];
  const failedPeers = new Map<string, NetlinkError>();
  let deviceGone = false;
  for (const [i, error] of errors.entries()) {
    if (!error) continue;
    const operation = operations[i]!;
    deviceGone ||= error.code === 'ENODEV' || error.code === 'ENETDOWN';
    if (operation.action === 'remove' ? isNotFound(error) : isExists(error)) continue;
    failed.push({operation, error});
    const {peer} = operation;
    if (peer !== undefined && !failedPeers.has(peer)) failedPeers.set(peer, error);
  }
  return {done: operations.length - failed.length, failed, failedPeers, deviceGone};
}
