import {spawn} from 'node:child_process';
import {getLink} from '../../lib/netlink/route/link.ts';
import type {TestNamespace} from './namespace.ts';

// AF_PACKET, every protocol; what is seen is looked through for the words given, and counted.
const script = `use Socket; $| = 1;
my ($index, @words) = @ARGV;
socket(my $s, 17, SOCK_RAW, unpack("S", pack("n", 3))) or die "socket: $!";
bind($s, pack("SnlSCCa8", 17, 3, $index, 0, 0, 0, "")) or die "bind to link $index: $!";
my %seen = (frames => 0, map { $_ => 0 } @words);
$SIG{TERM} = sub { print join(" ", map { "$_=$seen{$_}" } sort keys %seen), "\\n"; exit };
print "ready\\n";
while (defined recv($s, my $frame, 65536, 0)) {
  $seen{frames}++;
  for (@words) { $seen{$_}++ if index($frame, $_) >= 0 }
}`;

/** Looks at every frame of a link. */
export interface Sniffer {
  /** Ends it; how many frames there were (`frames`), and how many had each word in them. */
  stop(): Promise<Readonly<Record<string, number>>>;
}

/** Begins to look at all frames on `link` for `words`, which have no "=" and no spaces. */
export async function sniff(
  {netns, rt}: Pick<TestNamespace, 'netns' | 'rt'>,
  link: string,
  words: readonly string[],
): Promise<Sniffer> {
  const {ifindex} = await getLink(rt, {name: link});
  const argv = [`--net=${netns.path}`, '/usr/bin/perl', '-e', script, String(ifindex), ...words];
  const child = spawn('nsenter', argv, {stdio: ['ignore', 'pipe', 'inherit']});
  let said = '';
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error(`the sniffer ended: ${said}`)));
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('ready\n')) resolve();
    });
  });
  return {
    async stop() {
      child.kill('SIGTERM');
      await ended;
      const last = said.trimEnd().split('\n').at(-1) ?? '';
      return Object.fromEntries(
        last.split(' ').map((pair) => {
          const [word = '', count] = pair.split('=');
          return [word, Number(count)];
        }),
      );
    },
  };
}
