import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import type {Host} from '../../../lib/host.ts';
import {NetlinkError} from '../../../lib/netlink/error.ts';
import {plugin} from '../../../plugins/bridge/plugin.ts';
import {recordingNetlink} from '../../helpers/recording-netlink.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const enodev = 19;
const eopnotsupp = 95;

/** A host without a link, whose kernel refuses to make any. */
function hostThatRefuses(errno: number): Host {
  const rt = {
    ...recordingNetlink(),
    get: (request: {what: string}) => Promise.reject(new NetlinkError(request.what, enodev)),
    request: (request: {what: string}) => Promise.reject(new NetlinkError(request.what, errno)),
  };
  return {rt} as unknown as Host;
}

test('a kernel without bridges is error 50, with the module to load', async (t) => {
  const call = await callFor({type: 'bridge', cniVersion: '1.1.0'}, {CNI_COMMAND: 'STATUS'});
  const error = await t.throwsAsync(plugin.status(call, hostThatRefuses(eopnotsupp)), {instanceOf: CniError});
  t.like(error, {code: 50, message: 'the kernel has no support for bridges'});
  t.regex(error.details, /modprobe bridge/);
});
