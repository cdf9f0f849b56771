import {parseArgs} from '../../lib/cni/args.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';
import {findNameFault} from '../../lib/discovery/names.ts';
import type {Schema} from './conf.ts';

/** Of containers that runtimes name so, others tell them apart: a name in a pod's annotations, unless configured. */
const defaultAnnotation = 'weft.dev/aliases';
const defaultLabel = 'weft.dev/name';

/**
 * The names of a container from every place in which a runtime may say them, each once, in lower case. Those that users
 * wrote as names have to be names (CniError 7); what a runtime made up is left out with a warning.
 */
export function findNames(call: Call, conf: Schema): readonly string[] {
  const args = readArgs(call, conf.argNameKey);
  const {K8S_POD_NAME: pod, K8S_POD_NAMESPACE: namespace, NERDCTL_CNI_DHCP_HOSTNAME: hostname} = args;
  const given = [
    ...(pod ? [pod] : []),
    // podman says the container's name as the namespace.
    ...(pod && namespace && namespace !== pod ? [`${pod}.${namespace}`] : []),
    ...(hostname ? [hostname] : []),
  ].filter((name) => isUsable(call, name));
  const written = [
    ...readConfiguredArg(call, conf.argNameKey, args),
    ...readAliases(call, conf.runtimeConfig?.aliases),
    ...readAnnotation(conf),
    ...readLabels(call),
  ];
  for (const {name, source} of written) requireName(name, source);
  return [...new Set([...given, ...written.map(({name}) => name)].map((name) => name.toLowerCase()))];
}

interface Written {
  readonly name: string;
  /** The key that said it. */
  readonly source: string;
}

type Args = Readonly<Record<string, string | undefined>>;

function readArgs(call: Call, nameKey: string | undefined): Args {
  const known = [
    'K8S_POD_NAME',
    'K8S_POD_NAMESPACE',
    'NERDCTL_CNI_DHCP_HOSTNAME',
    ...(nameKey ? [nameKey] : []),
  ];
  // Every plugin of a chain gets the same text: what is for others is no mistake.
  return parseArgs(`IgnoreUnknown=1${call.args === '' ? '' : `;${call.args}`}`, known);
}

function readConfiguredArg(call: Call, key: string | undefined, args: Args): Written[] {
  const name = key === undefined ? undefined : args[key];
  return name ? [{name, source: `CNI_ARGS ${key}`}] : [];
}

/** A list (the specification's conventions), or a map from networks to lists (podman). */
function readAliases(call: Call, aliases: unknown): Written[] {
  const list = isObject(aliases) ? (aliases[call.name] ?? []) : (aliases ?? []);
  const source = 'runtimeConfig.aliases';
  if (!Array.isArray(list) || !list.every((name) => typeof name === 'string')) {
    throw refuse(`${source}: expected a list of names, or a map from networks to such lists`);
  }
  return list.map((name: string) => ({name, source}));
}

function readAnnotation({runtimeConfig, aliasAnnotation = defaultAnnotation}: Schema): Written[] {
  const annotations = runtimeConfig?.['io.kubernetes.cri.pod-annotations'];
  const text = isObject(annotations) ? annotations[aliasAnnotation] : undefined;
  if (typeof text !== 'string') return [];
  const source = `annotation ${aliasAnnotation}`;
  return text
    .split(',')
    .map((name) => ({name: name.trim(), source}))
    .filter(({name}) => name !== '');
}

/** `args.cni.labels` of the specification's conventions: [{"key": "weft.dev/name", "value": "web"}]. */
function readLabels(call: Call): Written[] {
  const cni = child(findKey(call.conf, 'args'), 'cni');
  const labels = child(cni, 'labels');
  if (!Array.isArray(labels)) return [];
  return labels.flatMap((label: Json) => {
    const [key, value] = [child(label, 'key'), child(label, 'value')];
    return key === defaultLabel && typeof value === 'string'
      ? [{name: value, source: 'args.cni.labels'}]
      : [];
  });
}

function child(value: Json | undefined, key: string): Json | undefined {
  return isObject(value) ? findKey(value, key) : undefined;
}

function isUsable(call: Call, name: string): boolean {
  const fault = findNameFault(name);
  if (fault !== undefined && call.command === 'ADD') {
    call.warn(`network "${call.name}": ${JSON.stringify(name)} gets no name in DNS: ${fault}`);
  }
  return fault === undefined;
}

function requireName(name: string, source: string): void {
  const fault = findNameFault(name);
  if (fault !== undefined) throw refuse(`${source}: ${JSON.stringify(name)} is no name: ${fault}`);
}

function refuse(message: string): CniError {
  return new CniError(
    errorCodes.invalidConfig,
    message,
    'a name is letters, digits, "-" and "_", with dots between',
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
