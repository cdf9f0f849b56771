import {readFileSync} from 'node:fs';
import path from 'node:path';
import type {TlsMaterial} from '../../outbound/http-agents.ts';
import {parseYaml, type Yaml} from './yaml.ts';

/** How the API server is reached: everything is read when it is needed, because tokens and certificates are renewed. */
export interface Access {
  readonly server: URL;
  /** Throws for files that are missing. */
  tls(): TlsMaterial;
  /** The bearer token; undefined where the client certificate says who we are. */
  token(): string | undefined;
}

export interface AccessConf {
  readonly server?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly serviceAccountDir?: string | undefined;
}

// Where kubelet puts it.
const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * As a pod by its service account, or by a kubeconfig file. Throws an Error that says what is missing and how to give it.
 */
export function findAccess(conf: AccessConf, env: NodeJS.ProcessEnv = process.env): Access {
  return conf.kubeconfig === undefined ? inCluster(conf, env) : byKubeconfig(conf.kubeconfig, conf.server);
}

function inCluster({server, ...conf}: AccessConf, env: NodeJS.ProcessEnv): Access {
  const {KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443'} = env;
  // An agent that was moved to the host's file system is told where its pod's is.
  const directory = conf.serviceAccountDir ?? env['WEFT_SERVICE_ACCOUNT_DIR'] ?? serviceAccountDir;
  if (server === undefined && host === undefined)
    throw new Error(
      'membership: KUBERNETES_SERVICE_HOST is not set, as it is in a pod; give "server", or "kubeconfig" outside of one',
    );
  const url = server ?? `https://${host!.includes(':') ? `[${host}]` : host}:${port}`;
  const read = (name: string) => readFileSync(path.join(directory, name), 'utf8');
  return {server: new URL(url), tls: () => ({ca: read('ca.crt')}), token: () => read('token').trim()};
}

interface Section {
  readonly [key: string]: Yaml;
}

function byKubeconfig(file: string, server: string | undefined): Access {
  const load = () => readKubeconfig(file);
  const url = server ?? text(load().cluster, 'server');
  if (url === undefined || URL.parse(url) === null)
    throw new Error(`${file}: the cluster's "server" is ${JSON.stringify(url ?? null)}, not a URL`);
  // Paths in it are relative to it.
  const read = (section: Section, key: string): string | undefined => {
    const data = text(section, `${key}-data`);
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    const name = text(section, key);
    return name === undefined ? undefined : readFileSync(path.resolve(path.dirname(file), name), 'utf8');
  };
  return {
    server: new URL(url),
    tls() {
      const {cluster, user} = load();
      return {
        ca: read(cluster, 'certificate-authority'),
        cert: read(user, 'client-certificate'),
        key: read(user, 'client-key'),
        servername: text(cluster, 'tls-server-name'),
        ...(cluster['insecure-skip-tls-verify'] === true && {rejectUnauthorized: false}),
      };
    },
    token() {
      const {user} = load();
      const name = text(user, 'tokenFile');
      if (name !== undefined) return readFileSync(path.resolve(path.dirname(file), name), 'utf8').trim();
      return text(user, 'token');
    },
  };
}

/** The cluster and the user of the current context. */
function readKubeconfig(file: string): {readonly cluster: Section; readonly user: Section} {
  const content = readFileSync(file, 'utf8');
  let document: Section;
  try {
    document = section(
      content.trimStart().startsWith('{') ? (JSON.parse(content) as Yaml) : parseYaml(content)[0],
    );
  } catch (cause) {
    throw new Error(`${file} cannot be read: ${(cause as Error).message}`, {cause});
  }
  const named = (list: string, name: string | undefined, key: string): Section => {
    const entries = Array.isArray(document[list]) ? (document[list] as readonly Yaml[]) : [];
    const found = entries.map(section).find((entry) => entry['name'] === name);
    if (found === undefined)
      throw new Error(`${file}: ${list}: none is named ${JSON.stringify(name ?? null)}`);
    return section(found[key]);
  };
  const context = named('contexts', text(document, 'current-context'), 'context');
  const user = named('users', text(context, 'user'), 'user');
  for (const key of ['exec', 'auth-provider'])
    if (user[key] !== undefined)
      throw new Error(
        `${file}: users: "${key}" is not supported; give a token, a tokenFile or a client certificate`,
      );
  return {cluster: named('clusters', text(context, 'cluster'), 'cluster'), user};
}

function section(value: Yaml | undefined): Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Section) : {};
}

function text(from: Section, key: string): string | undefined {
  const value = from[key];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
