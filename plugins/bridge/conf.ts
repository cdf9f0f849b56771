import * as z from 'zod/mini';
import {dnsOverride, masqueradeBackend, vethMtu} from '../../lib/attach/keys.ts';
import {parseArgs} from '../../lib/cni/args.ts';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {cidrField, dnsField, macField} from '../../lib/cni/fields.ts';
import {prepareShape} from '../../lib/cni/shape.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Dns} from '../../lib/cni/types.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {parseMac} from '../../lib/ip/mac.ts';
import type {MasqueradeBackend} from '../../lib/nat/masquerade.ts';
import {rangeGateways} from './range-gateways.ts';
import {trunkVlans} from './vlan.ts';

const text = z.optional(z.string());
const flag = z._default(z.boolean(), false);
const whole = z.optional(z.int());

const schema = prepareShape(
  z.object({
    bridge: text,
    isGateway: flag,
    isDefaultGateway: flag,
    forceAddress: flag,
    ipMasq: flag,
    ipMasqBackend: text,
    exemptDestinations: z._default(z.array(cidrField), []),
    mtu: whole,
    hairpinMode: flag,
    promiscMode: flag,
    vlan: whole,
    vlanTrunk: z.optional(z.array(z.object({id: whole, minID: whole, maxID: whole}))),
    preserveDefaultVlan: flag,
    macspoofchk: flag,
    enabledad: flag,
    disableContainerInterface: flag,
    portIsolation: flag,
    ipam: z.optional(z.looseObject({type: text})),
    dns: z.optional(dnsField),
    args: z.optional(z.looseObject({cni: z.optional(z.looseObject({mac: z.optional(macField)}))})),
    runtimeConfig: z.optional(z.looseObject({mac: z.optional(macField)})),
  }),
);

/** What a call asks of the bridge plugin; every rule between keys has been checked. */
export interface BridgeConf {
  readonly owner: Owner;
  readonly bridge: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly ipMasq: boolean;
  /** Undefined: nftables where the kernel has it. */
  readonly ipMasqBackend: MasqueradeBackend | undefined;
  /** Destinations that are not masqueraded; nftables backend only. */
  readonly exemptDestinations: readonly Cidr[];
  /** Of a bridge that is made and of the veth pair; undefined leaves the kernel's. */
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** Access VLAN of the port, 0 for none. */
  readonly vlan: number;
  /** Tagged VLANs of the port, ascending. */
  readonly trunk: readonly number[];
  /** Whether a bridge that is made filters VLANs: also with an empty `vlanTrunk`. */
  readonly vlanFiltering: boolean;
  readonly preserveDefaultVlan: boolean;
  readonly macspoofchk: boolean;
  readonly enabledad: boolean;
  readonly disableContainerInterface: boolean;
  readonly portIsolation: boolean;
  /** Undefined for a network without addresses (layer 2 only). */
  readonly ipamType: string | undefined;
  /** With `isGateway`: the gateways of all ranges of the network, which the bridge may have. */
  readonly rangeGateways: readonly Cidr[];
  /** Replaces what IPAM says of DNS, wholly. */
  readonly dns: Dns | undefined;
  /** Hardware address of the container's end. */
  readonly mac: string | undefined;
}

/** Reads and checks the configuration. Throws CniError 7 with the reference's sentences. */
export function parseBridgeConf(call: Call): BridgeConf {
  const conf = parseConf(call, schema);
  if (conf.hairpinMode && conf.promiscMode) {
    throw invalid(
      'cannot set hairpin mode and promiscuous mode at the same time',
      'switch one of hairpinMode and promiscMode off',
    );
  }
  const vlan = conf.vlan ?? 0;
  if (vlan < 0 || vlan > 4094)
    throw invalid(`invalid VLAN ID ${vlan} (must be between 0 and 4094)`, 'set "vlan" to 0 for none');
  const ipamType = conf.ipam?.type || undefined;
  if (conf.disableContainerInterface && ipamType !== undefined) {
    throw invalid(
      'cannot use IPAM when DisableContainerInterface flag is set',
      `remove "ipam" (type "${ipamType}") or disableContainerInterface`,
    );
  }
  const bridge = conf.bridge || 'cni0';
  // Of "%d" the kernel makes a number: another bridge with each call.
  if (Buffer.byteLength(bridge) > 15 || /[/\s:%\0]/.test(bridge) || bridge === '.' || bridge === '..') {
    throw invalid(
      `bridge: ${JSON.stringify(bridge)} cannot be the name of an interface`,
      'at most 15 bytes, without "/", ":", "%" and white space',
    );
  }
  const isGateway = conf.isGateway || conf.isDefaultGateway;
  const vlanLink = `${bridge}.${vlan}`;
  if (isGateway && vlan !== 0 && Buffer.byteLength(vlanLink) > 15) {
    throw invalid(
      `bridge: "${vlanLink}", the gateway's interface, is too long a name for one`,
      `with "vlan": ${vlan} and "isGateway" the bridge's name may have ${15 - `.${vlan}`.length} bytes`,
    );
  }
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    bridge,
    isGateway,
    isDefaultGateway: conf.isDefaultGateway,
    forceAddress: conf.forceAddress,
    ipMasq: conf.ipMasq,
    ipMasqBackend: masqueradeBackend(conf.ipMasqBackend),
    exemptDestinations: conf.exemptDestinations,
    mtu: vethMtu(conf.mtu),
    hairpinMode: conf.hairpinMode,
    promiscMode: conf.promiscMode,
    vlan,
    trunk: trunk(conf.vlanTrunk ?? []),
    vlanFiltering: vlan !== 0 || conf.vlanTrunk !== undefined,
    preserveDefaultVlan: conf.preserveDefaultVlan,
    macspoofchk: conf.macspoofchk,
    enabledad: conf.enabledad,
    disableContainerInterface: conf.disableContainerInterface,
    portIsolation: conf.portIsolation,
    ipamType,
    rangeGateways: isGateway ? rangeGateways(call.conf) : [],
    dns: dnsOverride(conf.dns),
    mac: macOf(call, conf.runtimeConfig?.mac, conf.args?.cni?.mac),
  };
}

function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}

function trunk(entries: Parameters<typeof trunkVlans>[0]): readonly number[] {
  try {
    return trunkVlans(entries);
  } catch (error) {
    throw new CniError(errorCodes.invalidConfig, (error as Error).message);
  }
}

/** runtimeConfig wins over args.cni, and that over CNI_ARGS. */
function macOf(
  call: Call,
  fromRuntime: string | undefined,
  fromArgs: string | undefined,
): string | undefined {
  // Parsed even where another source wins: an argument nobody knows is an error.
  const fromEnvironment = parseArgs(call.args, ['MAC']).MAC;
  const given = fromRuntime ?? fromArgs ?? (fromEnvironment || undefined);
  if (given === undefined) return undefined;
  const mac = parseMac(given);
  if (mac === undefined)
    throw invalid(`address ${given}: invalid MAC address`, 'write it as aa:bb:cc:dd:ee:ff');
  if (Number.parseInt(mac.slice(0, 2), 16) & 1 || mac === '00:00:00:00:00:00') {
    throw invalid(
      `address ${given}: invalid MAC address`,
      'the address of an interface is neither zero nor a multicast address',
    );
  }
  return mac;
}
