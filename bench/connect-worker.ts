import {once} from 'node:events';
import net from 'node:net';

/* `node connect-worker.ts ADDRESS PORT COUNT` makes connections, one after the other; prints how long each took to be made, in microseconds. */

const [host = '', port = '', count = ''] = process.argv.slice(2);
const times: number[] = [];
for (let i = -20; i < Number(count); i++) {
  const before = process.hrtime.bigint();
  const socket = net.connect({host, port: Number(port)});
  await once(socket, 'connect');
  if (i >= 0) times.push(Number(process.hrtime.bigint() - before) / 1000);
  socket.destroy();
}
console.log(JSON.stringify(times));
