import net from 'node:net';

/*
 * Run inside a namespace: `node traffic-worker.ts receive PORT SKIP_MS MEASURE_MS` takes one TCP connection, looks away for
 * the first SKIP_MS, and prints the bytes per second of the next MEASURE_MS; `node traffic-worker.ts send ADDRESS PORT` sends
 * until it is cut off. Both use Node alone.
 */

const [verb, first = '', second = '0', third = '0'] = process.argv.slice(2);

if (verb === 'receive') {
  const server = net.createServer((socket) => {
    let counting = false;
    let bytes = 0;
    socket.on('data', (chunk) => {
      if (counting) bytes += chunk.length;
    });
    socket.on('error', () => {});
    setTimeout(() => {
      counting = true;
      const started = performance.now();
      setTimeout(() => {
        console.log(`rate ${Math.round((bytes * 1000) / (performance.now() - started))}`);
        process.exit();
      }, Number(third));
    }, Number(second));
  });
  server.listen({host: '::', port: Number(first)}, () => console.log('ready'));
} else {
  const block = Buffer.alloc(64 * 1024);
  const socket = net.connect({host: first, port: Number(second)});
  const fill = () => {
    while (socket.write(block));
  };
  socket.on('connect', fill).on('drain', fill);
  socket.on('error', () => process.exit());
  socket.on('close', () => process.exit());
}
