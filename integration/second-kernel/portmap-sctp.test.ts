import {once} from 'node:events';
import {makeHost, type TestHost} from '../harness/host.ts';
import {testWith} from '../harness/needs.ts';
import {addOutside} from '../harness/outside.ts';
import {callPlugin, tryPlugin} from '../harness/plugin.ts';
import {attachMapped, checkMapped, portmapConf, unmap} from '../harness/ports.ts';

const test = testWith('root');

// Node has no SCTP. Sockets of it that are used like TCP's: SOCK_STREAM, protocol 132.
const server = `use Socket qw(:all); $| = 1;
socket(my $s, AF_INET6, SOCK_STREAM, 132) or die "socket: $!";
bind($s, pack_sockaddr_in6(80, inet_pton(AF_INET6, "::"))) or die "bind: $!";
listen($s, 5) or die "listen: $!";
print "up\\n";
while (my $peer = accept(my $c, $s)) {
  my $ip = inet_ntop(AF_INET6, (unpack_sockaddr_in6($peer))[1]);
  $ip =~ s/^::ffff://;
  syswrite($c, "sctp sees $ip");
  close $c;
}`;
const client = `use Socket qw(:all);
my ($to, $port) = @ARGV;
my $six = $to =~ /:/;
$SIG{ALRM} = sub { print "timeout"; exit };
alarm 5;
socket(my $s, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 132) or die "socket: $!";
connect($s, $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $to)) : pack_sockaddr_in($port, inet_aton($to)))
  or do { print "refused"; exit };
sysread($s, my $answer, 100);
print $answer;`;

async function ask(host: TestHost, from: string | undefined, address: string): Promise<string> {
  const argv = ['/usr/bin/perl', '-e', client, address, '8080'];
  const {stdout} = await host.run(from === undefined ? argv : host.inNetns(from, argv), {timeoutMs: 20_000});
  return stdout;
}

test('a mapped port of SCTP is reached from outside, from the host and from the container itself', async (t) => {
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await host.sh('modprobe sctp 2>/dev/null || true');
  const mapped = await attachMapped(host, 'pod', [{hostPort: 8080, containerPort: 80, protocol: 'sctp'}]);
  const child = host.start(host.inNetns('pod', ['/usr/bin/perl', '-e', server]));
  await once(child.stdout!, 'data');
  const [v4, v6] = outside.hostAddresses;
  t.is(await ask(host, 'outside', v4), 'sctp sees 192.0.2.2');
  t.is(await ask(host, 'outside', v6), 'sctp sees 2001:db8:2::2');
  t.is(await ask(host, undefined, '127.0.0.1'), 'sctp sees 10.61.0.1');
  t.is(await ask(host, 'pod', v4), 'sctp sees 10.61.0.1');
  t.is((await checkMapped(host, mapped)).code, 0);
  await unmap(host, mapped);
  t.is(await ask(host, 'outside', v4), 'refused');

  // For one address of each family: the host's other ones are its own.
  const one = [v4, v6].map((hostIP) => ({hostPort: 8080, containerPort: 80, protocol: 'sctp', hostIP}));
  const conf = portmapConf('ports', one);
  await callPlugin(host, {...mapped.call, conf, command: 'ADD'});
  await host.sh('ip address add 192.0.2.9/24 dev uplink; ip address add 2001:db8:2::9/64 dev uplink nodad');
  t.is(await ask(host, 'outside', v4), 'sctp sees 192.0.2.2');
  t.is(await ask(host, 'outside', v6), 'sctp sees 2001:db8:2::2');
  t.is(await ask(host, 'outside', '192.0.2.9'), 'refused');
  t.is(await ask(host, 'outside', '2001:db8:2::9'), 'refused');
  t.is(await ask(host, undefined, v6), 'sctp sees 2001:db8:2::1');
  t.is(await ask(host, 'pod', v6), 'sctp sees 2001:db8:61::1');
  t.is(await ask(host, undefined, '127.0.0.1'), 'refused');
  // The port of all addresses is not free.
  const other = await attachMapped(host, 'other', []);
  const all = portmapConf('ports', [{hostPort: 8080, containerPort: 80, protocol: 'sctp'}]);
  const {reply} = await tryPlugin(host, {...other.call, conf: all, command: 'ADD'});
  t.regex(reply?.msg ?? '', /^host port 8080\/sctp of \S+ is already mapped to container "pod"/);
  await callPlugin(host, {...mapped.call, conf, command: 'DEL'});
  t.is(await ask(host, 'outside', v4), 'refused');
  t.is(await ask(host, 'outside', v6), 'refused');
});
