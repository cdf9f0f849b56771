import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import type {Host} from '../../../lib/host.ts';
import {NetlinkError} from '../../../lib/netlink/error.ts';
import {missingFeature} from '../../../plugins/bandwidth/features.ts';
import {status} from '../../../plugins/bandwidth/status.ts';
import {readCaptures} from '../../helpers/captures.ts';
import {recordingNetlink} from '../../helpers/recording-netlink.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const newLink = 16;
const newQdisc = 36;

/** A kernel that answers requests of a type with an errno, and has a link. */
function hostWith(refusals: Readonly<Record<number, number>>) {
  const rt = recordingNetlink();
  rt.answers = readCaptures('captures.txt').answersTo('ip -d link show dev veth0').slice(-1);
  const request: typeof rt.request = async (asked) => {
    await rt.request(asked);
    const errno = refusals[asked.type];
    if (errno !== undefined) throw new NetlinkError(asked.what, errno);
  };
  return {rt, host: {rt: {...rt, request}} as unknown as Host};
}

const call = () => callFor({cniVersion: '1.1.0', type: 'bandwidth'}, {CNI_COMMAND: 'STATUS'});
const einval = 22;

test('the refusals of a kernel that knows ifb and tbf are what STATUS wants', async (t) => {
  const {rt, host} = hostWith({[newLink]: einval, [newQdisc]: einval});
  await t.notThrowsAsync(status(await call(), host));
  t.deepEqual(
    rt.sent.map(({what}) => what),
    ['add link weft-probe-ifb', 'get lo', 'add qdisc tbf 1: to lo'],
  );
});

const refuses = test.macro(
  async (t, refusals: Readonly<Record<number, number>>, message: RegExp, remedy: RegExp) => {
    const {host} = hostWith({[newLink]: einval, [newQdisc]: einval, ...refusals});
    const error = await t.throwsAsync<CniError>(status(await call(), host), {instanceOf: CniError});
    t.is(error?.code, 50);
    t.regex(error?.message ?? '', message);
    t.regex(error?.details ?? '', remedy);
  },
);

test(
  'no ifb devices',
  refuses,
  {[newLink]: 95},
  /no support for ifb devices/,
  /^load the module: modprobe ifb$/,
);
test('no tbf', refuses, {[newQdisc]: 2}, /no support for the qdisc tbf/, /modprobe sch_tbf$/);
test('not allowed', refuses, {[newLink]: 1}, /not allowed/, /CAP_NET_ADMIN/);

test('what an ADD misses has its module named', (t) => {
  const enoent = new NetlinkError('add filter', 2);
  t.regex(missingFeature(enoent, 'u32')?.details ?? '', /^load the modules: modprobe -a cls_u32 act_mirred$/);
  t.is(missingFeature(enoent, 'u32')?.code, 999);
  t.is(missingFeature(new NetlinkError('add filter', einval), 'u32'), undefined);
  // Of a link, ENOENT means something else.
  t.is(missingFeature(enoent, 'ifb'), undefined);
});
