import path from 'node:path';
import {credentials, loadPackageDefinition, type ServiceError} from '@grpc/grpc-js';
import {loadSync} from '@grpc/proto-loader';

/** A pod sandbox as the runtime reports it. */
export interface SandboxStatus {
  readonly addresses: readonly string[];
}

/** A port of the node that leads to a pod, in the interface's own names. */
export interface PodPort {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly container_port: number;
  readonly host_port: number;
}

/** What a kubelet says of a pod. */
export interface Pod {
  readonly name: string;
  readonly cgroup: string;
  readonly ports?: readonly PodPort[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The calls of a kubelet that make and remove pods. */
export interface Cri {
  /** Conditions that do not hold, with their reasons; none on a node that is ready. */
  complaints(): Promise<string[]>;
  /** Makes a sandbox and returns its id, which is also the container id that plugins see. */
  runSandbox(pod: Pod): Promise<string>;
  sandboxStatus(id: string): Promise<SandboxStatus>;
  stopSandbox(id: string): Promise<void>;
  removeSandbox(id: string): Promise<void>;
  close(): void;
}

interface Messages {
  Status: {status: {conditions: {type: string; status: boolean; reason: string; message: string}[]}};
  RunPodSandbox: {pod_sandbox_id: string};
  PodSandboxStatus: {status: {network?: {ip: string; additional_ips: {ip: string}[]}}};
  StopPodSandbox: object;
  RemovePodSandbox: object;
}
type Client = {close(): void} & Record<
  keyof Messages,
  (
    request: object,
    options: {deadline: Date},
    done: (error: ServiceError | null, reply: never) => void,
  ) => void
>;

/** Connects to a runtime's socket. Every call has 30 s. */
export function connectCri(socket: string): Cri {
  const definition = loadSync(path.join(import.meta.dirname, 'cri.proto'), {keepCase: true, defaults: true});
  const services = loadPackageDefinition(definition) as unknown as {
    runtime: {v1: {RuntimeService: new (address: string, channel: unknown, options: object) => Client}};
  };
  // A socket's path is no host name to put into the HTTP/2 authority.
  const client = new services.runtime.v1.RuntimeService(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  const call = <K extends keyof Messages>(method: K, request: object) =>
    new Promise<Messages[K]>((resolve, reject) => {
      client[method](request, {deadline: new Date(Date.now() + 30_000)}, (error, reply) => {
        if (error === null) resolve(reply);
        else reject(new Error(`${method}: ${error.details}`, {cause: error}));
      });
    });
  return {
    async complaints() {
      const {status} = await call('Status', {});
      return status.conditions
        .filter((condition) => !condition.status)
        .map(({type, reason, message}) => `${type}: ${reason} ${message}`);
    },
    async runSandbox({name, cgroup, ports = [], annotations = {}}) {
      const metadata = {name, uid: `uid-${name}`, namespace: 'default', attempt: 0};
      const config = {
        metadata,
        hostname: name,
        port_mappings: ports,
        annotations,
        linux: {cgroup_parent: cgroup},
      };
      return (await call('RunPodSandbox', {config})).pod_sandbox_id;
    },
    async sandboxStatus(id) {
      const {status} = await call('PodSandboxStatus', {pod_sandbox_id: id});
      const {ip = '', additional_ips = []} = status.network ?? {};
      return {addresses: [ip, ...additional_ips.map((each) => each.ip)].filter((each) => each !== '')};
    },
    async stopSandbox(id) {
      await call('StopPodSandbox', {pod_sandbox_id: id});
    },
    async removeSandbox(id) {
      await call('RemovePodSandbox', {pod_sandbox_id: id});
    },
    close: () => client.close(),
  };
}
