import {ensurePackages} from './debian.ts';
import type {TestHost} from './host.ts';

const tools = ['iptables', 'ip6tables'];
const verbs = ['', '-save', '-restore'];

/**
 * Installs Debian's ufw on a test host and enables it, with the rules it comes with: what is forwarded is dropped. `variant`
 * is the iptables that it finds.
 */
export async function startUfw(host: TestHost, variant: 'nft' | 'legacy'): Promise<void> {
  const root = await ensurePackages('ufw');
  // What is unpacked, above the machine's own; and what the package's scripts would make.
  await host.sh(`
    mkdir -p /run/ufw/upper /run/ufw/work
    mount -t overlay overlay -o lowerdir=${root}/usr:/usr,upperdir=/run/ufw/upper,workdir=/run/ufw/work /usr
    # A link to the machine's until here.
    rm -f /etc/default; mkdir /etc/default
    cp -a ${root}/etc/ufw /etc/; cp ${root}/etc/default/ufw /etc/default/
    cp /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf /usr/share/ufw/*.init /etc/ufw/
    for tool in ${tools.join(' ')}; do for verb in ${verbs.map((verb) => `'${verb}'`).join(' ')}; do
      ln -sf $tool-${variant}$verb /usr/sbin/$tool$verb
    done; done`);
  await host.run(['/usr/bin/python3', '/usr/sbin/ufw', '--force', 'enable'], {
    env: {PATH: '/usr/sbin:/usr/bin:/sbin:/bin'},
    timeoutMs: 60_000,
  });
}

/** Reads ufw's rules anew, as an administrator does after a change: every chain of it is made again. */
export async function reloadUfw(host: TestHost): Promise<void> {
  await host.run(['/usr/bin/python3', '/usr/sbin/ufw', 'reload'], {
    env: {PATH: '/usr/sbin:/usr/bin:/sbin:/bin'},
    timeoutMs: 60_000,
  });
}
