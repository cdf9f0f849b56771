import test from 'ava';
import {findDuplicateKey, sysctlPath} from '../../../plugins/tuning/sysctl-key.ts';

const leads = test.macro({
  title: (_, key: string, ifName: string, path: string) => `${key} of ${ifName} is ${path}`,
  exec(t, key: string, ifName: string, path: string) {
    t.is(sysctlPath(key, ifName), path);
  },
});

test(leads, 'net.core.somaxconn', 'eth0', 'net/core/somaxconn');
test(leads, 'net/ipv4/conf/IFNAME/forwarding', 'eth0', 'net/ipv4/conf/eth0/forwarding');
test(leads, '/net//ipv4.ip_forward', 'eth0', 'net/ipv4/ip_forward');
// The name comes in last: its dots are no separators.
test(leads, 'net.ipv4.conf.IFNAME.arp_filter', 'eth0.7', 'net/ipv4/conf/eth0.7/arp_filter');
test(leads, 'net.IFNAME.IFNAME', '$&', 'net/$&/IFNAME');

for (const key of ['kernel.msgmax', 'net', '', 'vm/../net/../kernel', 'net.../kernel/../..', '/etc/passwd'])
  test(`"${key}" never leaves net/`, (t) => {
    try {
      t.regex(sysctlPath(key, 'eth0'), /^net\/(?!.*\.\.)/);
    } catch (error) {
      t.regex((error as Error).message, /^invalid net sysctl key: "/);
    }
  });

const finds = test.macro({
  title: (_, text: string, key?: string) => `${text}: ${key ?? 'none twice'}`,
  exec(t, text: string, key?: string) {
    JSON.parse(text);
    t.is(findDuplicateKey(text), key);
  },
});

test(finds, '{"sysctl":{"a":"1","b":"2"}}');
test(finds, '{"sysctl":{"a":"1","b":"2","a":"1"}}', 'a');
test(finds, '{ "SysCtl" : {\n"a" : "1" }, "x": 1, "sysctl": {"a" :"2"}}', 'a');
test(finds, String.raw`{"sysctl":{"net.a":"{\"x\": [","net\u002ea":"\\"}}`, 'net.a');
test(finds, '{"sysctl":{"a":"sysctl","b":"a"},"a":"1"}');
test(finds, '{"args":{"cni":{"sysctl":{"a":"1","a":"2"}}}}');
test(finds, '{"prevResult":{"sysctl":{"a":"1","a":"2"}},"a":[{"sysctl":{"a":1,"a":1}},{"x":{"a":1,"a":2}}]}');
test(finds, '{"sysctl":{"b":{"a":1},"c":{"a":1}}}');
test(finds, '[{"sysctl":{"a":"1","a":"2"}}]');
