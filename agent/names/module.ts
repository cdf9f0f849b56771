import {join} from 'node:path';
import {isDeepStrictEqual} from 'node:util';
import type {DiscoveredAttachment} from '../../lib/discovery/attachment-file.ts';
import {formatIp, parseIp} from '../../lib/ip/address.ts';
import {Forwarder} from '../dns/forwarder.ts';
import {RateLimiter} from '../dns/rate-limit.ts';
import {followResolvConf, type FollowedFile} from '../dns/resolv-conf.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import {AttachmentFiles, containerOf} from './attachments.ts';
import {everywhere} from './catalog-entries.ts';
import {feedTable} from './catalog-feed.ts';
import {defaultNames, type NamesConf} from './conf.ts';
import {Listeners} from './listeners.ts';
import {createNamesMetrics} from './metrics.ts';
import {NoticeServer} from './notices.ts';
import {ensureRedirects} from './redirects.ts';
import {Responder} from './responder.ts';
import {NameTable} from './table.ts';

const dnsPort = 53;
/** The zone of services that belong to no network. */
const serviceDomain = 'weft.internal';

/** On unless the configuration says otherwise: without attached containers that have names it does nothing. */
export const namesRow: ModuleRow = {
  name: 'names',
  isWanted: ({names}) => names?.enabled ?? true,
  create: (context) => createNames(context, context.config.names ?? defaultNames(), context.config.runDir),
};

/** The module `names`: a DNS server for attached containers, at the host's addresses in their networks. */
function createNames(context: AgentContext, firstConf: NamesConf, runDir: string): AgentModule {
  let conf = firstConf;
  const {log, host, metrics, catalog, node} = context;
  const table = new NameTable();
  table.putNetwork({name: everywhere, domain: serviceDomain, isInternal: true, upstreams: []});
  /** How many attachments of each network there are: its zone goes with the last. */
  const networks = new Map<string, Map<string, DiscoveredAttachment>>();
  /** The network of each address that is listened on: what the host itself sees there. */
  let networkAt = new Map<string, string>();
  let hostServers: FollowedFile | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isRedirecting = false;
  let redirecting = Promise.resolve();
  let endFeed: (() => void) | undefined;

  let upstreams = upstreamsOf(conf);
  let forwarder = makeForwarder();
  let limiter = new RateLimiter(conf.rateLimit);
  const figures = () => ({attachments: files.size, names: table.size, forwarder: forwarder.figures});
  const count = createNamesMetrics(metrics, figures);
  const responder = new Responder({
    table,
    forwarder: {forward: (...question) => forwarder.forward(...question)},
    limiter: {allows: (...source) => limiter.allows(...source)},
    isHost: (ip) => listeners.has(ip) || ip === '127.0.0.1' || ip === '::1',
    onAnswer: ({rcode}) => count(rcode),
    onError: (error, {name, type}) => log.error({error, name, type}, 'a question could not be answered'),
  });
  const listeners: Listeners = new Listeners({
    port: conf.port,
    handlerFor: (address) => (message, client) =>
      responder.respond(networkAt.get(address) ?? '', message, client),
    log,
  });
  const files = new AttachmentFiles(conf.dir, {
    log,
    events: {
      put(file, attachment) {
        catalog.containers.put('local', containerOf(attachment, node));
        const {network, domain, internal, upstreams: own} = attachment;
        const members = networks.get(network) ?? new Map<string, DiscoveredAttachment>();
        networks.set(network, members.set(file, attachment));
        table.putNetwork({name: network, domain, isInternal: internal, upstreams: own});
      },
      remove(file, attachment) {
        const {network} = attachment;
        catalog.containers.remove('local', containerOf(attachment, node).key);
        const members = networks.get(network);
        members?.delete(file);
        if (members?.size !== 0) return;
        networks.delete(network);
        table.removeNetwork(network);
      },
      changed: () => void serve(),
    },
  });
  const notices = new NoticeServer(async (file) => {
    files.look(file);
    // The table hears of it in a microtask.
    await serve();
    return listeners.failures()[0];
  }, log);

  function makeForwarder(): Forwarder {
    return new Forwarder({
      hostUpstreams: () => (upstreams.length > 0 ? upstreams : (hostServers?.upstreams ?? [])),
      zones: new Map(
        Object.entries(conf.zones).map(([zone, servers]) => [
          zone.toLowerCase().replace(/\.$/, ''),
          servers.map((address) => ({address, port: dnsPort})),
        ]),
      ),
      isOwn: ({address}) => listeners.has(address),
      timeoutMs: conf.upstreamTimeoutMs,
      maxInFlight: conf.maxInFlight,
      cache: conf.cache,
    });
  }

  function followHost(): void {
    hostServers?.close();
    hostServers = followResolvConf(conf.resolvConf, {
      pollMs: conf.rescanMs,
      onChange: () => forwarder.forget(),
    });
  }

  function startClock(): void {
    clearInterval(timer);
    timer = setInterval(() => void rescan(), conf.rescanMs);
  }

  /** Brings sockets and redirects in line with the attachments. */
  async function serve(): Promise<void> {
    const all = files.list();
    const found = all.flatMap(({listen, network}) => listen.map((ip) => [canonical(ip), network] as const));
    networkAt = new Map(found);
    await listeners.set(new Set(networkAt.keys()));
    await redirect(all);
  }

  /** One after the other: each looks at what is there. */
  function redirect(all: readonly DiscoveredAttachment[]): Promise<void> {
    return (redirecting = redirecting.then(() => redirectNow(all)));
  }

  async function redirectNow(all: readonly DiscoveredAttachment[]): Promise<void> {
    const intercepts = new Map<string, number>();
    for (const {intercept, bridge, listen} of all) {
      const port = listen.map((ip) => listeners.portOf(canonical(ip))).find((each) => each !== undefined);
      if (intercept && bridge !== undefined && port !== undefined) intercepts.set(bridge, port);
    }
    const detours = listeners
      .list()
      .flatMap(({address, port}) => (port === undefined || port === dnsPort ? [] : [{address, port}]));
    // Nothing to send elsewhere, now or before: the kernel is not even asked.
    if (intercepts.size === 0 && detours.length === 0 && !isRedirecting) return;
    try {
      await ensureRedirects(host.nft, {
        intercepts: [...intercepts].map(([bridge, port]) => ({bridge, port})),
        detours,
      });
      isRedirecting = intercepts.size > 0 || detours.length > 0;
    } catch (error) {
      log.error({error}, 'questions to other ports cannot be redirected');
    }
  }

  async function rescan(): Promise<void> {
    files.scan();
    await serve();
  }

  return {
    name: 'names',
    async start() {
      followHost();
      endFeed = feedTable(table, catalog);
      // An agent that ended before may have left redirects.
      isRedirecting = true;
      await rescan();
      await notices.listen(conf.socket ?? join(runDir, 'names.sock'));
      startClock();
    },
    /** Sockets stay as they are, so that no question is lost. */
    async reload({names}) {
      const next = names ?? defaultNames();
      if (isDeepStrictEqual(next, conf)) return;
      const fixed = (['dir', 'socket', 'port'] as const).find((key) => next[key] !== conf[key]);
      if (fixed !== undefined) throw new Error(`"names.${fixed}" is read when the agent starts: restart it`);
      conf = next;
      upstreams = upstreamsOf(conf);
      forwarder = makeForwarder();
      limiter = new RateLimiter(conf.rateLimit);
      followHost();
      startClock();
    },
    async stop() {
      clearInterval(timer);
      endFeed?.();
      hostServers?.close();
      files.close();
      await notices.close();
      await listeners.close();
    },
    reconcile: rescan,
    notReady: () => listeners.failures(),
    status: () => ({
      ...figures(),
      networks: [...networks].map(([name, members]) => ({name, containers: members.size})),
      listening: listeners.list(),
      upstreams: (upstreams.length > 0 ? upstreams : (hostServers?.upstreams ?? [])).map(
        ({address}) => address,
      ),
    }),
  };
}

const upstreamsOf = ({upstreams}: NamesConf) => upstreams.map((address) => ({address, port: dnsPort}));

/** As addresses of clients and of the table are written. */
function canonical(text: string): string {
  const ip = parseIp(text);
  return ip === undefined ? text : formatIp(ip);
}
