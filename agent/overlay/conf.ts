import type {output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {cidrField, ipField} from '../../lib/cni/fields.ts';
import {encryptionPort} from '../../lib/overlay/encryption/plan.ts';
import {absolutePath} from '../fields.ts';
import {membershipShape} from '../membership/conf.ts';

const ms = (fallback: number) => z._default(z.int().check(z.minimum(1)), fallback);

const pattern = z.string().check(
  z.refine((text) => {
    try {
      return RegExp(`^(?:${text})$`, 'u') instanceof RegExp;
    } catch {
      return false;
    }
  }, 'expected a regular expression'),
);

/** Which interface carries the tunnel; the first key that is there decides, without any it is the default route's. */
const underlayShape = z.object({
  /** An address of this host, or a range that one of them is in. */
  address: z.optional(cidrField),
  interface: z.optional(z.string()),
  interfacePattern: z.optional(pattern),
  canReach: z.optional(ipField),
  /** Which addresses peers are told, where the host is reached by others than its interface has (NAT). */
  publicAddresses: z._default(z.array(ipField), []),
});

const encryptionShape = z.object({
  /** The first is used, the others are understood, so that one can take the place of another. */
  secrets: z
    .array(z.object({id: z._default(z.int().check(z.gte(0), z.lte(15)), 0), file: absolutePath}))
    .check(
      z.minLength(1),
      z.refine(
        (secrets) => new Set(secrets.map(({id}) => id)).size === secrets.length,
        'two secrets have one id; give each its own',
      ),
    ),
  /** UDP port of the secret with id 0; those of the others follow. */
  port: z._default(z.int().check(z.gte(1), z.lte(65_520)), encryptionPort),
});

const networkShape = z.object({
  /** The name that the plugin's configuration knows it by. */
  name: z
    .string()
    .check(
      z.refine(
        (name) => /^[\w][\w.-]{0,62}$/.test(name),
        'expected a name: letters, digits, ".", "-" and "_", at most 63',
      ),
    ),
  form: z._default(z.enum(['routed', 'l2']), 'routed'),
  membership: membershipShape,
  underlay: z._default(underlayShape, {publicAddresses: []}),
  /** MTU of the containers' interfaces; without it the underlay's, less what the tunnel adds. */
  mtu: z.optional(z.int().check(z.minimum(576), z.maximum(65_535))),
  subnetFile: z._default(absolutePath, '/run/flannel/subnet.env'),
  masquerade: z._default(z.boolean(), true),
  /** WireGuard below the network. */
  encryption: z.optional(encryptionShape),
  /** The bridge of an `l2` network; `br-vx<VNI>` if not given. */
  bridge: z.optional(z.string().check(z.minLength(1), z.maxLength(15))),
  /** Destinations outside the overlay that containers reach under their own address. */
  exemptDestinations: z._default(z.array(cidrField), []),
  /** The bits of a packet's mark by which the host's own FORWARD lets the network's packets pass; 0: it is left alone. */
  forwardMark: z._default(z.int().check(z.gte(0), z.lte(0xffff_ffff)), 0x1000),
  /** Whether forwarded packets heed what is known of a path's MTU (net.ipv4.ip_forward_use_pmtu). */
  pathMtu: z._default(z.boolean(), true),
  /** Whether VXLAN packets are taken from members only, and the tunnel's own packets are not tracked. */
  filter: z._default(z.boolean(), true),
});

/** What networks of one host cannot share, as sentences. */
function findClashes(networks: readonly OverlayNetworkConf[]): string[] {
  const seen = new Map<string, string>();
  const claims = networks.flatMap(({name, subnetFile, encryption}) => [
    {name, claim: `the name ${name}`, remedy: 'give each its own'},
    {name, claim: `the subnetFile ${subnetFile}`, remedy: 'give each its own'},
    ...(encryption?.secrets ?? []).map(({id}) => ({
      name,
      claim: `the UDP port ${encryption!.port + id} for encryption`,
      remedy: 'give one another "encryption.port", on all hosts',
    })),
  ]);
  return claims.flatMap(({name, claim, remedy}) => {
    const other = seen.get(claim);
    seen.set(claim, name);
    return other === undefined ? [] : [`${other} and ${name} have ${claim}; ${remedy}`];
  });
}

const networksShape = z.array(networkShape).check((payload) => {
  for (const message of findClashes(payload.value))
    payload.issues.push({code: 'custom', message, input: payload.value.length});
});

/** The section `overlay` of the agent's configuration. */
export const overlayShape = z.object({
  /** What the other hosts know this one by; its host name if not given. */
  node: z.optional(z.string().check(z.minLength(1))),
  networks: z._default(networksShape, []),
  /** All is compared with the kernel at least this often, give or take a fifth. */
  resyncMs: ms(60_000),
  /** How long the loop waits for more changes after one, */
  debounceMs: ms(10),
  /** and how long at most. */
  maxDelayMs: ms(100),
  /** How long a host that has gone from the membership is kept: its record may only be written anew. */
  removalDelayMs: z._default(z.int().check(z.minimum(0)), 1000),
  /** How long a membership that has lost many peers at once is not believed. */
  massDeleteGraceMs: ms(60_000),
  /** The first and the longest pause before a peer that failed is tried again. */
  backoffMs: ms(100),
  backoffMaxMs: ms(30_000),
  /** How long an agent that has just started leaves standing what the one before it said to the plugin. */
  startGraceMs: ms(10_000),
  /** Whether the kernel is listened to; without it, only the clock finds what others changed. */
  monitor: z._default(z.boolean(), true),
});

export type OverlayConf = Readonly<output<typeof overlayShape>>;
export type OverlayNetworkConf = Readonly<output<typeof networkShape>>;
