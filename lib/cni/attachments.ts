import {CniError, errorCodes} from './error.ts';
import type {Call} from './plugin.ts';
import {findKey} from './shape.ts';
import type {Attachment, Json, JsonObject} from './types.ts';

/** The list of GC (spec 1.1.0), and the spelling that runtimes used before it was corrected. */
export const attachmentKeys = ['cni.dev/valid-attachments', 'cni.dev/attachments'] as const;

/**
 * The attachments that GC must keep; an empty list says that all are stale. If both spellings are
 * there, what either names is kept. Throws CniError 7 if neither is, or one cannot be read: then
 * nothing is known to be stale and nothing may be removed.
 */
export function validAttachments(call: Call): readonly Attachment[] {
  const lists = attachmentKeys.flatMap((key) => {
    const list = findKey(call.conf, key);
    return list === undefined ? [] : [parseList(key, list)];
  });
  if (lists.length > 0) return lists.flat();
  throw new CniError(
    errorCodes.invalidConfig,
    'GC needs the key "cni.dev/valid-attachments"',
    'without the list of attachments in use nothing can be told to be stale; an empty list means that all are',
  );
}

function parseList(key: string, list: Json): Attachment[] {
  if (!Array.isArray(list)) throw refuse(key, list);
  return list.map((entry: Json) => {
    if (entry === null || typeof entry !== 'object' || Array.isArray(entry)) throw refuse(key, entry);
    const containerId = findKey(entry as JsonObject, 'containerID');
    const ifName = findKey(entry as JsonObject, 'ifname');
    if (typeof containerId !== 'string' || typeof ifName !== 'string') throw refuse(key, entry);
    return {containerId, ifName};
  });
}

function refuse(key: string, found: Json): CniError {
  return new CniError(
    errorCodes.invalidConfig,
    `"${key}" is not a list of {"containerID", "ifname"}: found ${JSON.stringify(found)}`,
    'nothing was removed',
  );
}
