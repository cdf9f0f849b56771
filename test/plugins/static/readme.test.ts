import test from 'ava';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parseStaticConf} from '../../../plugins/static/conf.ts';
import {exampleOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configuration is one", async (t) => {
  const {ips, routes, dns} = parseStaticConf(await callFor(exampleOf('static')));
  t.deepEqual(
    ips.map(({address}) => formatCidr(address)),
    ['10.10.0.7/24', 'fd00:10::7/64'],
  );
  t.is(routes.length, 3);
  t.is(dns.domain, 'example.com');
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('static'), []);
});
