import {listPlugins} from '../build/plugins.ts';
import {binDir, compareModes, type ModeCall, type ModeHost} from './harness/both-modes.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';

// Stubs, and native clients with an agent: the same to the byte, whatever is called.

const test = testWith('root', 'apt', 'cc');
const long = 300_000;
const plugins = listPlugins().flatMap(({names}) => names);
const verbs = ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS', 'VERSION'];
const net = bridgeNetwork({name: 'net', cniVersion: '1.1.0'});

test.serial('every plugin and every verb, with next to nothing to go by', async (t) => {
  t.timeout(long);
  const {served} = await compareModes(t, async ({host, call, recordState}) => {
    const netns = await host.addNetns('pod');
    const attachment = {netns, containerId: 'pod'};
    const prevResult = {cniVersion: '1.1.0', interfaces: [], ips: []};
    for (const type of plugins) {
      const conf = {cniVersion: '1.1.0', name: 'net'};
      for (const command of verbs) {
        await call(`${type} ${command}`, {type, command, conf, ...attachment});
        if (command !== 'VERSION')
          await call(`${type} ${command} with prevResult`, {type, command, conf, ...attachment, prevResult});
      }
      await call(`${type} without a verb`, {type, conf, env: {CNI_COMMAND: undefined}});
      await call(`${type} GC with a list`, {
        type,
        command: 'GC',
        conf: {...conf, 'cni.dev/valid-attachments': []},
      });
    }
    await recordState('in the end');
  });
  t.true(served > plugins.length * 10, `${served} calls were served by the agent`);
});

test.serial('mistakes: the same error to the letter', async (t) => {
  t.timeout(long);
  const {served} = await compareModes(t, async ({host, call, recordState}) => {
    const netns = await host.addNetns('pod');
    const add: ModeCall = {type: 'bridge', command: 'ADD', conf: net, netns, containerId: 'pod'};
    const conf = (more: Readonly<Record<string, unknown>>) => ({...add, conf: {...net, ...more}});
    const mistakes: Readonly<Record<string, ModeCall>> = {
      'no stdin': {...add, stdin: ''},
      'no JSON': {...add, stdin: '{"cniVersion": "1.0.0", "name": '},
      'no object': {...add, stdin: '[]'},
      null: {...add, stdin: 'null'},
      'not UTF-8': {
        ...add,
        script: `printf '{"cniVersion":"1.0.0","name":"\\xff\\xfe","type":"bridge"}' | "$0"`,
      },
      'a zero byte': {
        ...add,
        script: `printf '{"cniVersion":"1.0.0","name":"a\\0b","type":"bridge"}' | "$0"`,
      },
      'a byte order mark': {...add, stdin: `\ufeff${JSON.stringify(net)}`},
      'deep JSON': {...add, stdin: `${'['.repeat(100_000)}${']'.repeat(100_000)}`},
      'a bad name': conf({name: '/'}),
      'a version that nobody speaks': conf({cniVersion: '9.9.9'}),
      'a version that is no text': conf({cniVersion: 1}),
      'a wrong type': conf({isGateway: 'yes'}),
      'a wrong value': conf({vlan: 5000}),
      'keys that exclude each other': conf({hairpinMode: true, promiscMode: true}),
      'a key that looks like a slip': conf({isGateways: true, ipMask: true}),
      'html in a value': conf({bridge: '<b>&\u2028'}),
      'an unknown ipam': conf({ipam: {type: 'nowhere'}}),
      'an ipam with a path': conf({ipam: {type: '../bridge'}}),
      'itself as ipam': conf({ipam: {type: 'bridge'}}),
      'a bad range': conf({ipam: {type: 'host-local', ranges: [[{subnet: '10.0.0.1/24'}]]}}),
      'a prevResult that is none': {...add, command: 'CHECK', prevResult: 7},
      'a prevResult of another version': {
        ...add,
        command: 'CHECK',
        prevResult: {cniVersion: '0.1.0', ip4: {}},
      },
      'no prevResult': {...add, command: 'CHECK'},
      'an unknown verb': {...add, command: 'FROB'},
      'a verb in lower case': {...add, command: 'add'},
      'no container': {...add, containerId: ''},
      'a bad container': {...add, containerId: '-x'},
      'no namespace': {...add, netns: ''},
      'a namespace that is gone': {...add, netns: '/run/netns/gone'},
      'a namespace that is gone, DEL': {...add, command: 'DEL', netns: '/run/netns/gone'},
      'a namespace that is a file': {...add, netns: '/etc/hosts'},
      'a namespace that is a folder': {...add, netns: '/run'},
      'a namespace of another kind': {...add, netns: '/proc/1/ns/mnt'},
      'its own namespace': {...add, netns: '/proc/self/ns/net'},
      'its own namespace, DEL': {...add, netns: '/proc/1/ns/net', command: 'DEL'},
      'no interface': {...add, ifName: ''},
      'a long interface': {...add, ifName: 'x'.repeat(16)},
      'an interface with a slash': {...add, ifName: 'a/b'},
      'no path': {...add, env: {CNI_PATH: ''}},
      'an empty path': {...add, env: {CNI_PATH: ':::'}},
      'a path of nothing': {...add, env: {CNI_PATH: '/nonexistent'}},
      'bad arguments': {...add, env: {CNI_ARGS: 'a=b;c'}},
      'unknown arguments': {...add, env: {CNI_ARGS: 'FROB=1'}},
      'an argument': {...add, script: 'exec "$0" --help'},
      'a stdin that is a folder': {...add, script: '"$0" < /'},
      'no stdin at all': {...add, script: '"$0" <&-'},
      'no stdout': {...add, script: '"$0" >&-; echo "$?"', command: 'STATUS'},
      // What is said of it on stderr differs: the client does not know what it cannot say.
      'a stdout that is full': {...add, script: '"$0" > /dev/full 2> /dev/null; echo "$?"'},
      'a stdout that is full, CHECK': {
        ...add,
        command: 'CHECK',
        script: '"$0" > /dev/full 2> /dev/null; echo "$?"',
      },
      'one for both': {...conf({isGateways: true, bridge: 'x'.repeat(20)}), script: '"$0" 2>&1'},
    };
    for (const [title, mistake] of Object.entries(mistakes)) await call(title, mistake);
    await recordState('in the end');
  });
  t.true(served > 25, `${served} calls were served by the agent`);
});

test.serial('what is in the environment: logs, the folder, the mask, other plugins', async (t) => {
  t.timeout(long);
  const {served, refused} = await compareModes(t, async (mode) => {
    const {host, call, record, recordState} = mode;
    const netns = await host.addNetns('pod');
    const attachment = {netns, containerId: 'pod'};
    const loopback = {type: 'loopback', conf: {cniVersion: '1.0.0', name: 'lo'}, ...attachment};
    const add = (title: string, more: Partial<ModeCall>) =>
      call(title, {...loopback, command: 'ADD', ...more});

    for (const logLevel of ['debug', 'trace', 'nonsense', 'silent'])
      await add(`logLevel ${logLevel}`, {conf: {...loopback.conf, logLevel}});
    await add('logFile', {conf: {...loopback.conf, logFile: '/var/log/weft/a.log', logLevel: 'debug'}});
    await add('logFile, failing', {
      conf: {...loopback.conf, logFile: '/var/log/weft/b.log'},
      netns: '/run/netns/gone',
    });
    await add('a logFile that cannot be', {conf: {...loopback.conf, logFile: '/proc/nowhere/log'}});
    await add('WEFT_LOG', {env: {WEFT_LOG: 'debug'}});
    await add('WEFT_LOG that is none', {env: {WEFT_LOG: 'loud'}});
    await add('NODE_OPTIONS', {env: {NODE_OPTIONS: '--bogus', NODE_DEBUG: '*'}});
    await add('odd variables', {
      script: `exec env 'A B=c' '=x' __proto__=1 constructor=2 "X=$(printf '\\xff')" "$0"`,
    });
    await add('umask 077', {
      script: 'umask 077; exec "$0"',
      conf: {...loopback.conf, logFile: '/var/log/m/c.log'},
    });
    await add('umask 000', {
      script: 'umask 000; exec "$0"',
      conf: {...loopback.conf, logFile: '/var/log/n/d.log'},
    });
    await add('relative log', {
      script: 'mkdir -p /run/data/x; cd /run/data/x; exec "$0"',
      conf: {...loopback.conf, logFile: 'relative.log'},
    });
    await add('relative namespace', {script: 'cd /run/netns; exec "$0"', netns: 'pod'});
    await add('a folder that is gone', {
      script: 'mkdir /run/data/y; cd /run/data/y; rmdir /run/data/y; exec "$0"',
    });
    await add('by a link', {script: 'ln -sf "$0" /run/data/loopback; exec /run/data/loopback'});
    await add('under another name', {script: 'cp "$0" /run/data/other; /run/data/other; rm /run/data/other'});
    await add('another user', {script: 'exec setpriv --reuid 65534 --clear-groups "$0"'});
    await add('fewer capabilities', {
      script: 'exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$0"',
    });
    await add('a user namespace', {script: 'exec unshare --user --map-root-user "$0"'});
    await add('a mount namespace', {script: 'exec unshare --mount "$0"'});
    await add('a network namespace', {script: 'exec unshare --net "$0"'});
    await add('a chroot', {
      script: 'mkdir -p /run/root; mount --rbind / /run/root; exec chroot /run/root "$0"',
    });
    await host.sh('umount -R -l /run/root; rmdir /run/root');
    await other(mode);
    record('files', (await host.sh('cat /run/data/seen*')).stdout.replaceAll(/^_=.*\n/gm, ''));
    await recordState('in the end');
  });
  t.true(served > 20, `${served} calls were served by the agent`);
  t.true(refused > 5, `${refused} calls were left to the clients`);
});

/** Plugins of others that ours execute: what they are given, and what becomes of what they say. */
async function other({host, call}: ModeHost): Promise<void> {
  const plugins: Readonly<Record<string, string>> = {
    spy: `f=/run/data/seen-$CNI_COMMAND; { env | sort; pwd; umask; cat; echo; } >> $f
[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24"}],"dns":{}}'`,
    talker: `echo 'a warning of mine' >&2; echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.6/24"}],"dns":{}}'`,
    refuser: `echo '{"cniVersion":"1.0.0","code":107,"msg":"no more","details":"of these"}'; exit 1`,
    mumbler: `echo 'what is this'; echo 'and this' >&2; exit 3`,
    silent: 'exit 4',
    dying: 'kill -KILL $$',
    slow: 'exec sleep 100',
    large: `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.7/24"}],"dns":{"search":['; i=0
while [ $i -lt 20000 ]; do echo "\\"domain-$i.example\\","; i=$((i + 1)); done; echo '"last"]}}'`,
  };
  for (const [name, script] of Object.entries(plugins))
    await host.write(`/run/plugins/${name}`, `#!/bin/sh\n${script}\n`);
  await host.sh('chmod 755 /run/plugins/*; mkdir -p /run/data');
  const conf = (type: string) => ({cniVersion: '1.0.0', name: 'net', bridge: 'cni1', ipam: {type}});
  const attachment = {netns: '/run/netns/pod', containerId: 'pod', ifName: 'eth1'};
  const env = {
    CNI_PATH: `/run/plugins:${binDir}`,
    CNI_ARGS: 'K8S_POD_NAME=a;IgnoreUnknown=1',
  };
  for (const type of Object.keys(plugins)) {
    for (const command of ['ADD', 'DEL']) {
      const stdin = {
        type: 'bridge',
        conf: conf(type),
        ...attachment,
        // Of the one that does not end.
        env: {...env, ...(type === 'slow' && {WEFT_DELEGATE_TIMEOUT_MS: '500'})},
        command,
      };
      await call(`${command} with ${type}`, stdin);
    }
  }
  const spy = {type: 'bridge', command: 'ADD', conf: conf('spy'), ...attachment, env};
  await call('in a folder', {...spy, script: 'cd /usr; exec "$0"'});
  await call('in a folder, DEL', {...spy, command: 'DEL', script: 'cd /usr; exec "$0"'});
  await call('by a relative path', {
    ...spy,
    env: {...env, CNI_PATH: `plugins:${binDir}`},
    script: 'cd /run; exec "$0"',
  });
  await call('by a relative path, DEL', {
    ...spy,
    command: 'DEL',
    env: {...env, CNI_PATH: `plugins:${binDir}`},
    script: 'cd /run; exec "$0"',
  });
  await call('with a mask', {...spy, script: 'umask 077; exec "$0"'});
  await call('with a mask, DEL', {...spy, command: 'DEL', script: 'umask 077; exec "$0"'});
}
