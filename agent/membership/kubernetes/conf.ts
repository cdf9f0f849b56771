import {readFileSync} from 'node:fs';
import type {output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {rangesField} from '../../../lib/overlay/static-file.ts';
import type {OverlayNetwork} from '../../../lib/overlay/member.ts';
import {familyOf} from '../../../lib/ip/address.ts';
import {absolutePath} from '../../fields.ts';
import {parseFlannelConfig} from '../flannel-config.ts';

const ms = (fallback: number) => z._default(z.int().check(z.gte(10)), fallback);

/** Keys of a membership of type `kubernetes`. */
export const kubernetesKeys = {
  network: z.optional(rangesField),
  vni: z.optional(z.int().check(z.gte(1), z.lte(0xff_ffff))),
  port: z.optional(z.int().check(z.gte(1), z.lte(0xffff))),
  directRouting: z.optional(z.boolean()),
  /** flannel's net-conf.json, instead of the four above. */
  netConfFile: z.optional(absolutePath),
  /** Name of our Node; else of the environment's WEFT_NODE_NAME, else overlay.node. */
  node: z.optional(z.string().check(z.minLength(1))),
  server: z.optional(
    z.string().check(
      z.refine((text) => {
        const url = URL.parse(text);
        return /^https?:$/.test(url?.protocol ?? '') && url?.username === '' && url.password === '';
      }, 'expected a URL, without a user (kubeconfig)'),
    ),
  ),
  kubeconfig: z.optional(absolutePath),
  /** Else the environment's WEFT_SERVICE_ACCOUNT_DIR, else where kubelet puts it. */
  serviceAccountDir: z.optional(absolutePath),
  annotationPrefix: z._default(
    z.string().check(z.refine((text) => /^[a-z0-9.-]+\/$/.test(text), 'expected a prefix that ends in "/"')),
    'flannel.alpha.coreos.com/',
  ),
  /** Whether the condition NetworkUnavailable is ours to set. */
  setCondition: z._default(z.boolean(), true),
  requestTimeoutMs: ms(15_000),
  retryMs: ms(500),
  retryMaxMs: ms(30_000),
  staleAfterMs: ms(10_000),
  watchSeconds: z._default(z.int().check(z.gte(1)), 300),
  idleMs: ms(180_000),
  pageSize: z._default(z.int().check(z.gte(1)), 250),
};
const schema = z.object(kubernetesKeys);
export type KubernetesConf = Readonly<output<typeof schema>>;

/** What all nodes agree on, from the configuration or flannel's file. Throws an Error that names what is missing. */
export function networkOf(
  conf: KubernetesConf,
  {name, form}: Pick<OverlayNetwork, 'name' | 'form'>,
): OverlayNetwork {
  if (form !== 'routed')
    throw new Error(
      `membership: nodes say nothing of single containers, which form "${form}" needs; use type "etcd" or "static"`,
    );
  const {netConfFile, network, vni, port, directRouting} = conf;
  if (netConfFile !== undefined) {
    const also = Object.entries({network, vni, port, directRouting}).find(([, value]) => value !== undefined);
    if (also !== undefined)
      throw new Error(`membership: ${also[0]} is in netConfFile already; give one of the two`);
    const {divisions, ...rest} = parseFlannelConfig(readFileSync(netConfFile, 'utf8'), netConfFile);
    return {name, form, ...rest, ranges: divisions.map(({range}) => range)};
  }
  if (network === undefined)
    throw new Error(
      'membership: network is missing; give the cluster CIDR as "10.244.0.0/16", or netConfFile',
    );
  if (network.length === 0 || new Set(network.map(({ip}) => familyOf(ip))).size < network.length)
    throw new Error(
      'membership: network has none or two of one family; give one range for each family in use',
    );
  return {
    name,
    form,
    ranges: network,
    vni: vni ?? 1,
    port: port ?? 8472,
    directRouting: directRouting ?? false,
  };
}
