import {makeEtcd} from './harness/etcd.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

test.serial('a single member keeps its data over a stop and loses them when wiped', async (t) => {
  const etcd = await makeEtcd(t);
  const [member] = etcd.members;
  await etcd.ctl(['put', '/a', '1']);
  await member!.stop();
  t.is(member!.pid, undefined);
  await member!.start();
  t.is((await etcd.ctl(['get', '/a', '--print-value-only'])).stdout, '1\n');
  await member!.wipe();
  await member!.start();
  t.is((await etcd.ctl(['get', '/a', '--print-value-only'])).stdout, '');
});

test.serial('three members choose another leader when theirs is killed', async (t) => {
  const etcd = await makeEtcd(t, {addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3']});
  const leader = await etcd.leader();
  await leader.stop('SIGKILL');
  // A write that the old leader had not passed on is lost after five seconds.
  while ((await etcd.ctl(['put', '/a', '1'], {mayFail: true})).code !== 0);
  t.not((await etcd.leader()).url, leader.url);
  await leader.start();
});

test.serial('TLS and passwords are asked for', async (t) => {
  const etcd = await makeEtcd(t, {tls: true, auth: {password: 'secret', prefix: '/weft'}});
  t.regex(etcd.endpoints[0]!, /^https:/);
  await etcd.ctl(['put', '/weft/a', '1']);
  const denied = await etcd.ctl(['--user=weft:secret', 'put', '/other', '1'], {mayFail: true});
  t.regex(denied.stderr, /permission denied/);
});
