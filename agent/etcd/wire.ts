// etcd's API as its JSON gateway spells it (api/etcdserverpb/rpc.proto of etcd 3.4): 64-bit numbers are strings, bytes are
// base64, and what is zero, false or empty is left out.

/** A key with its value, as text, and what compare-and-swap needs. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** "0" for none; larger than a JavaScript number can hold. */
  readonly lease: string;
}

export interface WireKeyValue {
  readonly key?: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly lease?: string;
}

export interface WireHeader {
  readonly revision?: string;
  readonly cluster_id?: string;
}

export interface WireRange {
  readonly header?: WireHeader;
  readonly kvs?: readonly WireKeyValue[];
  readonly more?: boolean;
  readonly count?: string;
}

export interface WireTxn {
  readonly header?: WireHeader;
  readonly succeeded?: boolean;
  readonly responses?: readonly {readonly response_range?: WireRange}[];
}

export interface WireWatch {
  readonly header?: WireHeader;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compact_revision?: string;
  readonly cancel_reason?: string;
  readonly events?: readonly {readonly type?: 'PUT' | 'DELETE'; readonly kv?: WireKeyValue}[];
}

export interface WireError {
  /** 3.4 says `error` and `message`, older ones one of them. */
  readonly error?: string;
  readonly message?: string;
  /** Of gRPC: google.golang.org/grpc/codes. */
  readonly code?: number;
  readonly grpc_code?: number;
}

/** A request that is compared before a transaction: equality of one of the key's figures. */
export type Compare =
  | {readonly key: string; readonly modRevision: number}
  | {readonly key: string; readonly createRevision: number};

export type Operation =
  | {readonly put: string; readonly value: string; readonly lease: string}
  | {readonly remove: string}
  | {readonly range: string};

export function encode(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

export function decode(text = ''): string {
  return Buffer.from(text, 'base64').toString('utf8');
}

/** The first key after all that begin with `prefix` (clientv3.GetPrefixRangeEnd). */
export function endOfPrefix(prefix: string): string {
  const bytes = Buffer.from(prefix, 'utf8');
  bytes[bytes.length - 1]! += 1;
  return bytes.toString('base64');
}

export function keyValueOf({key, value, create_revision, mod_revision, lease = '0'}: WireKeyValue): KeyValue {
  return {
    key: decode(key),
    value: decode(value),
    createRevision: Number(create_revision ?? 0),
    modRevision: Number(mod_revision ?? 0),
    lease,
  };
}

/** A key that is not there has revision 0 of both kinds. */
export function compareOf(compare: Compare): object {
  const key = encode(compare.key);
  return 'modRevision' in compare
    ? {key, target: 'MOD', result: 'EQUAL', mod_revision: String(compare.modRevision)}
    : {key, target: 'CREATE', result: 'EQUAL', create_revision: String(compare.createRevision)};
}

export function operationOf(operation: Operation): object {
  if ('put' in operation) {
    const {put, value, lease} = operation;
    return {request_put: {key: encode(put), value: encode(value), lease}};
  }
  if ('remove' in operation) return {request_delete_range: {key: encode(operation.remove)}};
  return {request_range: {key: encode(operation.range)}};
}
