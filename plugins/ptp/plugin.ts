import {collect, detach} from '../../lib/attach/detach.ts';
import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {repair} from './repair.ts';
import {status} from './status.ts';

/** Connects each container to the host by a link of its own; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'ptp',
  versions: specVersions,
  add,
  del: (call, host) => detach(call, host),
  check,
  gc: (call, host) => collect(call, host),
  status,
  repair,
};
