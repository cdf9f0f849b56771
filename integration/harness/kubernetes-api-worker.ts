import {startKubernetes} from './kubernetes-api.ts';

/*
 * Run inside a namespace: `node kubernetes-api-worker.ts PORT NODE=podCIDR …` is an API server with these nodes on the
 * loopback; it prints "ready", and each patch that comes as one line of JSON.
 */

const [port = '', ...nodes] = process.argv.slice(2);

const api = await startKubernetes(
  {teardown() {}},
  {
    port: Number(port),
    onPatch: (name, change) => console.log(JSON.stringify({name, change})),
  },
);
for (const each of nodes) {
  const [name = '', podCIDR = ''] = each.split('=');
  api.addNode(name, {podCIDRs: [podCIDR]});
}
console.log('ready');
