import http from 'node:http';

/*
 * Run inside a namespace: `node http.ts serve NAME PORT` answers each request with its name and who asked;
 * `node http.ts get URL` prints the answer. Both use Node alone.
 */

const [verb, first = '', second = ''] = process.argv.slice(2);

if (verb === 'serve') {
  const server = http.createServer(({socket}, response) => {
    response.end(`page of ${first}, asked by ${socket.remoteAddress?.replace('::ffff:', '')}`);
  });
  server.listen({host: '::', port: Number(second), ipv6Only: false}, () => console.log('ready'));
} else {
  const answer = await fetch(first, {signal: AbortSignal.timeout(5000)});
  process.stdout.write(await answer.text());
}
