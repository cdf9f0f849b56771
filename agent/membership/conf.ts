import {safeParse} from 'zod/v4/core';
import type {$ZodRawIssue, $ZodType, output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {etcdKeys} from './etcd/conf.ts';
import {createEtcdMembership} from './etcd/membership.ts';
import {kubernetesKeys} from './kubernetes/conf.ts';
import {createKubernetesMembership} from './kubernetes/membership.ts';
import type {Membership, MembershipContext} from './membership.ts';
import {createStaticMembership, staticKeys} from './static.ts';

/** One kind of source: the keys of its configuration, and how it is made. */
interface Kind<Keys extends Readonly<Record<string, $ZodType>>> {
  readonly keys: Keys;
  create(conf: output<z.ZodMiniObject<Keys>>, context: MembershipContext): Membership;
}

function kindOf<Keys extends Readonly<Record<string, $ZodType>>>(kind: Kind<Keys>) {
  const schema = z.object(kind.keys);
  return {
    keys: Object.keys(kind.keys),
    /** Reads the configuration; the issues are zod's. */
    parse(value: unknown) {
      const parsed = safeParse(schema, value, {reportInput: true});
      if (!parsed.success) return {issues: parsed.error.issues as unknown as readonly $ZodRawIssue[]};
      const conf = parsed.data as output<z.ZodMiniObject<Keys>>;
      return {conf, create: (context: MembershipContext) => kind.create(conf, context)};
    },
  };
}

/** Every kind there is; another one is a file of its own and a line here. */
const kinds = {
  static: kindOf({keys: staticKeys, create: createStaticMembership}),
  etcd: kindOf({keys: etcdKeys, create: createEtcdMembership}),
  kubernetes: kindOf({keys: kubernetesKeys, create: createKubernetesMembership}),
};
type KindName = keyof typeof kinds;
const kindNames = Object.keys(kinds) as [KindName, ...KindName[]];

/** The section `membership` of a network, read: what it is, and how to make it. */
export interface MembershipConf {
  readonly type: KindName;
  /** The keys as they were written: two that are equal make the same membership. */
  readonly given: Readonly<Record<string, unknown>>;
  create(context: MembershipContext): Membership;
}

const everyKey = Object.fromEntries(
  Object.values(kinds).flatMap(({keys}) => keys.map((key) => [key, z.optional(z.unknown())])),
);

/**
 * The section `membership`: `type` and the keys of that type, as docs/membership.md lists them. What it gives makes the
 * membership (`createMembership`).
 */
export const membershipShape = z.pipe(
  z.object({...everyKey, type: z.enum(kindNames)}),
  z.transform((value, ctx): MembershipConf => {
    const {type, ...given} = value as Readonly<Record<string, unknown>> & {readonly type: KindName};
    const kind = kinds[type];
    for (const key of Object.keys(given)) {
      if (kind.keys.includes(key)) continue;
      const message = `"${key}" means nothing for type "${type}", which knows ${kind.keys.join(', ')}; remove it`;
      ctx.issues.push({code: 'custom', message, input: given[key], path: [key]});
    }
    const {issues, create} = kind.parse(given);
    if (issues !== undefined) ctx.issues.push(...(issues as typeof ctx.issues));
    return create === undefined ? z.NEVER : {type, given, create};
  }),
);

/** Makes the membership that a configuration asks for. Throws for what can never work; it does not connect yet. */
export function createMembership(conf: MembershipConf, context: MembershipContext): Membership {
  return conf.create(context);
}
