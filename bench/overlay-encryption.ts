import {runCommand} from '../integration/harness/command.ts';
import {binOf, ensurePackages} from '../integration/harness/debian.ts';
import {repository} from '../integration/harness/paths.ts';
import {bootSecondKernel} from '../integration/harness/second-kernel.ts';

// What encryption costs, and which kind costs less: the same VXLAN tunnel in clear, over IPsec (ESP in transport mode,
// AES-GCM, made with ip xfrm) and over WireGuard (made with wg). On Debian's kernel in qemu, whose processor is software: the
// figures compare, they say nothing of real machines.
//
//   node bench/overlay-encryption.ts [MiB per measurement]

const megabytes = Number(process.argv[2] ?? 24);

const kinds = ['clear', 'ipsec', 'wireguard'] as const;

const setUp = `ip link set lo up
unshare -n sleep 3000 & far=$!
sleep 1
far() { nsenter --net=/proc/$far/ns/net "$@"; }
ip link add eth0 type veth peer name eth0 netns $far
for n in 1 2; do
  at=; [ $n = 1 ] || at=far
  $at ip link set eth0 up
  $at ip addr add 192.168.50.$n/24 dev eth0
done
`;

const secure = {
  clear: 'below=192.168.50. mtu=1450',
  ipsec: `below=192.168.50. mtu=1414
key=0x$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n') 
for n in 1 2; do
  o=$((3 - n)); at=; [ $n = 1 ] || at=far
  for pair in "$n $o" "$o $n"; do
    set -- $pair
    $at ip xfrm state add src 192.168.50.$1 dst 192.168.50.$2 proto esp spi 0x10$1$2 reqid 1 mode transport \\
      aead 'rfc4106(gcm(aes))' $key 128 flag esn replay-window 128
  done
  $at ip xfrm policy add src 192.168.50.$n/32 dst 192.168.50.$o/32 proto udp dport 8472 dir out \\
    tmpl src 192.168.50.$n dst 192.168.50.$o proto esp reqid 1 mode transport
done`,
  wireguard: `below=10.99.0. mtu=1390
for n in 1 2; do wg genkey > /run/key$n; wg pubkey < /run/key$n > /run/pub$n; done
for n in 1 2; do
  o=$((3 - n)); at=; [ $n = 1 ] || at=far
  $at ip link add wg0 type wireguard
  $at wg set wg0 private-key /run/key$n listen-port 51872 peer $(cat /run/pub$o) endpoint 192.168.50.$o:51872 allowed-ips 10.99.0.$o/32
  $at ip addr add 10.99.0.$n/24 dev wg0
  $at ip link set wg0 up mtu 1440
done`,
} as const;

const tunnel = `for n in 1 2; do
  o=$((3 - n)); at=; [ $n = 1 ] || at=far
  $at ip link add vx0 mtu $mtu type vxlan id 1 local $below$n remote $below$o dstport 8472
  $at ip addr add 10.9.0.$n/24 dev vx0
  $at ip link set vx0 up
done
ping -c 3 -i 0.3 -W 10 10.9.0.2 > /dev/null || { echo "no way through"; exit 1; }
far busybox nc -l -p 5001 > /dev/null &
sleep 1
`;

/** One kind in a namespace of its own; prints what it measured. */
function script(kind: (typeof kinds)[number]): string {
  return `${setUp}${secure[kind]}
${tunnel}start=$(date +%s%N)
dd if=/dev/zero bs=64k count=$((${megabytes} * 16)) 2> /dev/null | busybox nc 10.9.0.2 5001
end=$(date +%s%N)
echo "${kind}: $((${megabytes} * 8388608 / ((end - start) / 1000))) Mbit/s"
ping -q -c 200 -i 0.002 10.9.0.2 | tail -n 1 | sed "s/^/${kind}: /"
kill $far
`;
}

if (process.env['WEFT_SECOND_KERNEL'] === undefined) {
  await Promise.all([ensurePackages('tools'), ensurePackages('wireguard')]);
  const boot = await bootSecondKernel({
    script: `cd ${repository}; export PATH=${repository}/node_modules/.bin:$PATH WEFT_SECOND_KERNEL=1
node bench/overlay-encryption.ts ${megabytes}`,
    timeoutMs: 580_000,
    onLine: (line) => console.log(line),
  });
  process.exitCode = boot.code ?? 1;
} else {
  const PATH = `${binOf('tools')}:${binOf('wireguard')}:/usr/sbin:/usr/bin:/sbin:/bin`;
  for (const kind of kinds) {
    const {stdout, stderr, code} = await runCommand(['unshare', '-n', 'sh', '-c', script(kind)], {
      env: {...process.env, PATH},
      timeoutMs: 180_000,
      mayFail: true,
    });
    console.log(code === 0 ? stdout.trimEnd() : `${kind} failed: ${stdout}${stderr}`);
  }
}
