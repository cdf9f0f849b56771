import {setTimeout as sleep} from 'node:timers/promises';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type MethodDefinition,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';

/*
 * A gRPC service without a compiler: `node grpc-worker.ts serve NAME PORT DELAY_MS` says its name, and that it is healthy, each after a
 * delay; `node grpc-worker.ts ask TARGET COUNT` calls it over as many connections, one after the other, and prints how often each name was
 * said, and how often which error came.
 */

const raw = (bytes: Buffer) => bytes;
const method = (path: string): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const hello = method('/shop.Greeter/Hello');
const check = method('/grpc.health.v1.Health/Check');
/** HealthCheckResponse {status: SERVING}. */
const serving = Buffer.from([0x08, 1]);

const [verb, first = '', second = '', third = '0'] = process.argv.slice(2);

function serve(name: string, port: number, delayMs: number): void {
  const answer = (bytes: Buffer) => (_: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
    void sleep(delayMs).then(() => done(null, bytes));
  const server = new Server();
  server.addService({Hello: hello}, {Hello: answer(Buffer.from(name))});
  server.addService({Check: check}, {Check: answer(serving)});
  server.bindAsync(`[::]:${port}`, ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
    console.log('ready');
  });
}

async function ask(target: string, count: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const client = new Client(target, credentials.createInsecure(), {'grpc.use_local_subchannel_pool': 1});
    const said = await new Promise<string>((resolve) => {
      const options = {deadline: Date.now() + 20_000};
      client.makeUnaryRequest(hello.path, raw, raw, Buffer.alloc(0), options, (error, value) =>
        resolve(error ? error.details : String(value)),
      );
    });
    client.close();
    counts[said] = (counts[said] ?? 0) + 1;
  }
  return counts;
}

if (verb === 'serve') serve(first, Number(second), Number(third));
else console.log(JSON.stringify(await ask(first, Number(second))));
