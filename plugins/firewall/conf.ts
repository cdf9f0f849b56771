import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import type {Result} from '../../lib/cni/types.ts';

const text = z.optional(z.string());

const schema = prepareShape(
  z.object({
    backend: text,
    iptablesAdminChainName: text,
    firewalldZone: text,
    ingressPolicy: text,
    markBit: z.optional(z.int()),
  }),
);

const backends = ['nftables', 'iptables', 'firewalld'] as const;

/** What lets the traffic through. */
export type Backend = (typeof backends)[number];

/** Which bridges isolate their containers, and from whom. */
export type Policy = 'same-bridge' | 'isolated';

/** What a call asks of the firewall plugin; every rule between keys has been checked. */
export interface FirewallConf {
  readonly owner: Owner;
  /** Undefined: firewalld where it runs, else nftables. */
  readonly backend: Backend | undefined;
  /** The chain for the administrator's own rules. */
  readonly adminChain: string;
  /** firewalld's zone for the addresses. */
  readonly zone: string;
  /** Undefined: open. */
  readonly policy: Policy | undefined;
  /** The bit of a packet's mark that says: this is a container's, let it pass. */
  readonly mark: number;
}

/**
 * Bit 12. Taken by others on nodes: 13 by the reference's portmap, 14 and 15 by kube-proxy, 16 to 31 by Calico, 16 to 23 by
 * Tailscale, 16 to 18 by Weave and kube-router, 8 to 11 by Cilium, 7 by the AWS plugin.
 */
export const defaultMarkBit = 12;

const defaultAdminChain = 'CNI-ADMIN';
const defaultZone = 'trusted';
// Longest name that xtables takes for a chain.
const longestChain = 28;

/** Reads and checks the configuration of an ADD or CHECK. Throws CniError 7. */
export function parseFirewallConf(call: Call): FirewallConf {
  const conf = parseConf(call, schema);
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    backend: backendOf(call, conf.backend || undefined),
    adminChain: adminChainOf(conf.iptablesAdminChainName || defaultAdminChain),
    zone: conf.firewalldZone || defaultZone,
    policy: policyOf(conf.ingressPolicy ?? ''),
    mark: markOf(conf.markBit ?? defaultMarkBit),
  };
}

/** What a DEL or GC needs, of whatever the configuration says: the rest may be wrong. */
export interface TeardownConf {
  readonly backend: Backend | undefined;
  readonly zone: string;
}

/** Never throws: a configuration that no ADD would take does not keep rules in place. */
export function findTeardownConf(call: Call): TeardownConf {
  const backend = findKey(call.conf, 'backend');
  const zone = findKey(call.conf, 'firewalldZone');
  return {
    backend: backends.find((each) => each === backend),
    zone: typeof zone === 'string' && zone !== '' ? zone : defaultZone,
  };
}

function backendOf(call: Call, name: string | undefined): Backend | undefined {
  const backend = backends.find((each) => each === name);
  // The reference takes whatever it does not know for no choice.
  if (name !== undefined && backend === undefined && call.command !== 'STATUS') {
    call.warn(
      `network "${call.name}": unknown backend "${name}" is ignored; it is one of ${backends.join(', ')}`,
    );
  }
  return backend;
}

function adminChainOf(name: string): string {
  const isName = /^[A-Za-z][A-Za-z0-9_.-]*$/.test(name) && name.length <= longestChain;
  if (isName && !ownChains.test(name)) return name;
  throw invalid(
    `iptablesAdminChainName: "${name}" cannot be the name of a chain`,
    isName
      ? 'that is a chain with a meaning of its own'
      : `at most ${longestChain} letters, digits, "-", "_" and "." that begin with a letter`,
  );
}

/** Chains that mean something else, to us or to iptables. */
const ownChains =
  /^(forward|admin|policy|to-containers|(admit|isolated|same-bridge)-.*|CNI-FORWARD|CNI-ISOLATION-.*|FORWARD|INPUT|OUTPUT|ACCEPT|DROP|RETURN)$/;

function policyOf(name: string): Policy | undefined {
  if (name === '' || name === 'open') return undefined;
  if (name === 'same-bridge' || name === 'isolated') return name;
  throw invalid(
    `unknown ingress policy: ${JSON.stringify(name)}`,
    'ingressPolicy is "open", "same-bridge" or "isolated"',
  );
}

function markOf(bit: number): number {
  if (bit >= 0 && bit <= 31) return 2 ** bit;
  throw invalid(`markBit must be between 0 and 31, found ${bit}`, `without it bit ${defaultMarkBit} is used`);
}

/** The bridge that a policy is about: the first interface of the chain's result. Throws in the reference's words. */
export function bridgeOf(policy: Policy, {interfaces}: Result): string {
  const [first] = interfaces;
  if (!first) {
    throw invalid(
      `interface needs to be set for ingress policy ${JSON.stringify(policy)}, make sure to chain "firewall" plugin with "bridge"`,
      'prevResult names no interface',
    );
  }
  if (first.name === '') {
    throw invalid('got empty bridge name', 'the first interface of prevResult has no name');
  }
  if (Buffer.byteLength(first.name) > 15 || /[/\s"'\\]/.test(first.name)) {
    throw invalid(
      `prevResult: "${first.name}" cannot be the name of a bridge`,
      'the first interface of prevResult is taken for the bridge that ingressPolicy is about',
    );
  }
  return first.name;
}

/** The result of the plugins before this one. Throws in the reference's words where there is none. */
export function requirePrevResult(previous: Result | undefined): Result {
  if (previous) return previous;
  throw invalid(
    'missing prevResult from earlier plugin',
    'put "firewall" behind the plugin that makes the interface, such as "bridge"',
  );
}

function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
