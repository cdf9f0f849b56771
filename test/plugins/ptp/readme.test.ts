import test from 'ava';
import {parsePtpConf} from '../../../plugins/ptp/conf.ts';
import {exampleOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configuration is one", async (t) => {
  const conf = parsePtpConf(await callFor(exampleOf('ptp')));
  t.like(conf, {ipMasq: true, mtu: 1450, ipamType: 'host-local', dns: {nameservers: ['10.1.1.1']}});
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('ptp'), []);
});
