import {setTimeout} from 'node:timers/promises';
import {ensurePackages} from './debian.ts';
import type {TestHost} from './host.ts';

const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

/** Starts a system bus on a test host, where every system bus is; nobody else's. */
export async function startBus(host: TestHost): Promise<void> {
  const root = await ensurePackages('firewalld');
  // What is unpacked, above the machine's own.
  await host.sh(`mount -t overlay overlay -o lowerdir=${root}/usr:/usr /usr; mkdir -p /run/dbus`);
  await host.write('/run/dbus/bus.conf', busConf);
  host.start(['/usr/bin/dbus-daemon', '--nofork', '--nopidfile', '--config-file=/run/dbus/bus.conf']);
  await waitFor(host, 'test -S /run/dbus/system_bus_socket', 10_000);
}

/** Starts Debian's firewalld on it, and waits until it answers. */
export async function startFirewalld(host: TestHost): Promise<void> {
  const root = await ensurePackages('firewalld');
  await host.sh(`
    cp -a ${root}/etc/firewalld /etc/
    sed -i 's/^CleanupModulesOnExit=.*/CleanupModulesOnExit=no/' /etc/firewalld/firewalld.conf
  `);
  host.start(['/usr/bin/python3', '/usr/sbin/firewalld', '--nofork', '--nopid']);
  await waitFor(host, '/usr/bin/python3 /usr/bin/firewall-cmd --state', 60_000);
}

/** What firewall-cmd prints. */
export async function firewallCmd(host: TestHost, ...args: string[]): Promise<string> {
  const argv = ['/usr/bin/python3', '/usr/bin/firewall-cmd', ...args];
  return (await host.run(argv, {timeoutMs: 60_000})).stdout.trim();
}

async function waitFor(host: TestHost, condition: string, deadlineMs: number): Promise<void> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const {code, stderr, stdout} = await host.sh(condition, {mayFail: true, timeoutMs: 30_000});
    if (code === 0) return;
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${condition}\n${stdout}${stderr}`);
    await setTimeout(200);
  }
}
