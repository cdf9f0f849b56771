import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {cidrField, isPath, pathField, routeField} from '../../lib/cni/fields.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {overlayRunDir} from '../../lib/overlay/state-file.ts';
import {defaultSubnetFile} from '../../lib/overlay/subnet-file.ts';

const text = z.optional(z.string());
const path = z.optional(pathField);
const object = z.optional(z.looseObject({}));

const schema = prepareShape(
  z.object({
    subnetFile: path,
    dataDir: path,
    runDir: path,
    network: path,
    form: z.optional(z.enum(['routed', 'l2'])),
    static: z.optional(z.unknown()),
    node: text,
    masquerade: z._default(z.boolean(), true),
    exemptDestinations: z._default(z.array(cidrField), []),
    filter: z._default(z.boolean(), true),
    delegate: object,
    ipam: z.optional(z.looseObject({type: text, routes: z.optional(z.array(routeField))})),
    runtimeConfig: object,
  }),
);

/** Of this plugin: names.json. */
const ownNames: readonly string[] = ['vxlan', 'flannel'];

const defaultDataDir = '/var/lib/cni/flannel';

/** What the configuration says of the plugin that does the work, as it was written. */
export interface DelegateTemplate {
  readonly name: string;
  /** Undefined where the configuration says none. */
  readonly cniVersion: string | undefined;
  readonly type: string;
  readonly delegate: JsonObject;
  readonly ipam: JsonObject;
  readonly runtimeConfig: JsonObject | undefined;
  /** `logLevel` and `logFile`, where the configuration has them: for a delegate of ours. */
  readonly logging: JsonObject;
}

/** Where things are kept: all that DEL and GC need to know. */
export interface VxlanPlaces {
  readonly owner: Owner;
  readonly subnetFile: string;
  /** Configurations of delegates that DEL needs; flannel's directory. */
  readonly dataDir: string;
  /** What the agent says, and what it is told. */
  readonly runDir: string;
  /** What the agent calls the network. */
  readonly network: string;
}

/** What a call asks of the vxlan plugin; every rule between keys has been checked. */
export interface VxlanConf extends VxlanPlaces {
  /** Undefined: the agent says, and without one it is `routed`. */
  readonly form: 'routed' | 'l2' | undefined;
  /** All hosts written down, in place of an agent: the description itself, or the path of its file. */
  readonly static: JsonObject | string | undefined;
  /** Which of the hosts in `static` this is; without it the one with our host name, or with one of our addresses. */
  readonly node: string | undefined;
  /** With `static`: what containers send out of the overlay gets the host's address, */
  readonly masquerade: boolean;
  /** but not to these. */
  readonly exemptDestinations: readonly Cidr[];
  /** With `static`: tunnelled packets are taken from the hosts of the list alone. */
  readonly filter: boolean;
  readonly template: DelegateTemplate;
}

/** Reads and checks the configuration. Throws CniError 7, where flannel has a sentence with that. */
export function parseVxlanConf(call: Call): VxlanConf {
  const conf = parseConf(call, schema);
  if (conf.ipam?.type !== undefined && ownNames.includes(conf.ipam.type)) {
    // The delegate would call us, and we the delegate.
    throw invalid(
      `"ipam" has "type": "${conf.ipam.type}", which delegates itself`,
      'name a plugin that hands out addresses, such as "host-local"',
    );
  }
  const template = findTemplate(call);
  if (template === undefined) {
    throw invalid(
      "'delegate' dictionary, if present, must have (string) 'type' field",
      'name a plugin that makes interfaces, such as "bridge"',
    );
  }
  for (const key of ['name', 'ipam'] as const) {
    if (findKey(template.delegate, key) === undefined) continue;
    throw invalid(
      `'delegate' dictionary must not have '${key}' field, it'll be set by flannel`,
      key === 'name' ? 'the name of the network is used' : 'put it beside "delegate"',
    );
  }
  return {
    ...findPlaces(call),
    owner: ownerOf(call),
    form: conf.form,
    static: staticOf(call),
    node: conf.node || undefined,
    masquerade: conf.masquerade,
    exemptDestinations: conf.exemptDestinations,
    filter: conf.filter,
    template,
  };
}

function staticOf({conf}: Call): JsonObject | string | undefined {
  const members = findKey(conf, 'static');
  if (members === undefined || members === '') return undefined;
  if (isObject(members)) return members;
  if (typeof members === 'string') {
    // The agent that may serve the call has another working folder than the runtime.
    if (members.startsWith('/')) return members;
    throw invalid(`static: ${JSON.stringify(members)} is not an absolute path`, 'begin it with "/"');
  }
  throw invalid(
    `failed to load netconf: static: expected an object or the path of a file, found ${JSON.stringify(members)}`,
    'docs/membership.md says what is in it',
  );
}

/** The attachment that a call is about. */
export function ownerOf({name, containerId, ifName}: Call): Owner {
  return {network: name, containerId, ifName};
}

/** Read without complaint: a configuration that no ADD would take any longer must not keep anything in place. */
export function findPlaces(call: Pick<Call, 'conf' | 'name'>): Omit<VxlanPlaces, 'owner'> {
  const read = (key: string, fallback: string): string => {
    const value = findKey(call.conf, key);
    return typeof value === 'string' && value !== '' && isPath(value) ? value : fallback;
  };
  return {
    subnetFile: read('subnetFile', defaultSubnetFile),
    dataDir: read('dataDir', defaultDataDir),
    runDir: read('runDir', overlayRunDir),
    network: read('network', call.name),
  };
}

/** Without complaint, too; `undefined` where no delegate is named legibly. */
export function findTemplate({conf, name}: Pick<Call, 'conf' | 'name'>): DelegateTemplate | undefined {
  const delegate = findObject(conf, 'delegate') ?? {};
  const type = findKey(delegate, 'type') ?? 'bridge';
  if (typeof type !== 'string' || type === '') return undefined;
  const ipam = findObject(conf, 'ipam') ?? {};
  const ipamType = findKey(ipam, 'type');
  if (typeof ipamType === 'string' && ownNames.includes(ipamType)) return undefined;
  const cniVersion = findKey(conf, 'cniVersion');
  return {
    name,
    cniVersion: typeof cniVersion === 'string' && cniVersion !== '' ? cniVersion : undefined,
    type,
    delegate,
    ipam,
    runtimeConfig: findObject(conf, 'runtimeConfig'),
    logging: Object.fromEntries(
      ['logLevel', 'logFile'].flatMap((key) => {
        const value = findKey(conf, key);
        return value === undefined ? [] : [[key, value]];
      }),
    ),
  };
}

function findObject(conf: JsonObject, key: string): JsonObject | undefined {
  const value = findKey(conf, key);
  return isObject(value) ? value : undefined;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
