import * as z from 'zod/mini';
import {parseArgs} from '../../lib/cni/args.ts';
import {compact} from '../../lib/cni/compact.ts';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {isPath, pathField} from '../../lib/cni/fields.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import {parseMac} from '../../lib/ip/mac.ts';
import type {Attributes} from './attributes.ts';
import {findDuplicateKey, sysctlPath} from './sysctl-key.ts';

const text = z.optional(z.string());
const flag = z.optional(z.boolean());
const whole = z.optional(z.int());
const sysctls = z.optional(z.record(z.string(), z.nullable(z.string())));
const settings = {sysctl: sysctls, mac: text, promisc: flag, mtu: whole, allmulti: flag, txQLen: whole};

const schema = prepareShape(
  z.object({
    ...settings,
    dataDir: z.optional(pathField),
    args: z.optional(z.looseObject({cni: z.optional(z.looseObject(settings))})),
    runtimeConfig: z.optional(z.looseObject({mac: text})),
  }),
);

const defaultDataDir = '/run/cni/tuning';

/** A setting of the container's network. */
export interface Sysctl {
  /** As the configuration writes it. */
  readonly key: string;
  /** Below /proc/sys, with the name of the interface. */
  readonly path: string;
  readonly value: string;
}

/** What a call asks of the tuning plugin; every rule between keys has been checked. */
export interface TuningConf {
  /** In the order of the configuration, each path once. */
  readonly sysctls: readonly Sysctl[];
  readonly attributes: Attributes;
  readonly dataDir: string;
}

/** Reads and checks the configuration. Throws CniError: 4 for CNI_ARGS, 7 for the rest, with the reference's sentences. */
export function parseTuningConf(call: Call): TuningConf {
  const duplicate = findDuplicateKey(call.stdin);
  if (duplicate !== undefined) {
    throw refuse('duplicated sysctl keys are not allowed', `"${duplicate}" is there twice`);
  }
  const {args, runtimeConfig, ...conf} = parseConf(call, schema);
  // Parsed even where another source wins: an argument nobody knows is an error.
  const fromEnvironment = parseArgs(call.args, ['MAC']).MAC;
  const over = args?.cni ?? {};
  const mac = over.mac ?? (runtimeConfig?.mac || fromEnvironment || conf.mac);
  const promisc = over.promisc ?? conf.promisc;
  const mtu = over.mtu ?? conf.mtu;
  return {
    sysctls: listSysctls({...conf.sysctl, ...over.sysctl}, call.ifName),
    // As with the reference: no address, an MTU of 0 and a false "promisc" leave things as they are.
    attributes: compact({
      mac: mac ? checkMac(mac) : undefined,
      promisc: promisc || undefined,
      mtu: mtu ? checkNumber('mtu', mtu) : undefined,
      allmulti: over.allmulti ?? conf.allmulti,
      txQLen: checkNumber('txQLen', over.txQLen ?? conf.txQLen),
    }),
    dataDir: conf.dataDir || defaultDataDir,
  };
}

/** Where the originals are kept: all that DEL and GC need to know, read without complaint. */
export function findDataDir({conf}: Call): string {
  const dataDir = findKey(conf, 'dataDir');
  return typeof dataDir === 'string' && dataDir !== '' && isPath(dataDir) ? dataDir : defaultDataDir;
}

function listSysctls(values: Readonly<Record<string, string | null>>, ifName: string): readonly Sysctl[] {
  const byPath = new Map<string, Sysctl>();
  for (const [key, value] of Object.entries(values)) {
    if (value === null) continue;
    const path = sysctlPath(key, ifName);
    // Two spellings of one: the later counts, and stands last.
    byPath.delete(path);
    byPath.set(path, {key, path, value});
  }
  return [...byPath.values()];
}

function checkMac(given: string): string {
  const mac = parseMac(given);
  if (mac === undefined) {
    throw refuse(
      `invalid args ${given} for MAC addr: address ${given}: invalid MAC address`,
      'write it as aa:bb:cc:dd:ee:ff',
    );
  }
  if (Number.parseInt(mac.slice(0, 2), 16) & 1 || mac === '00:00:00:00:00:00') {
    throw refuse(
      `invalid args ${given} for MAC addr`,
      'the address of an interface is neither zero nor a multicast address',
    );
  }
  return mac;
}

function checkNumber(key: string, value: number | undefined): number | undefined {
  if (value === undefined || (value >= 0 && value <= 0xffff_ffff)) return value;
  throw refuse(`invalid ${key} ${value}`, `"${key}" goes from 0 to 4294967295`);
}

function refuse(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
