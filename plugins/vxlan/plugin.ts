import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {findDelegated} from './delegated.ts';
import {del} from './del.ts';
import {gc} from './gc.ts';
import {status} from './status.ts';

/** Connects containers of different hosts; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'vxlan',
  versions: specVersions,
  add,
  del,
  check,
  gc,
  status,
  findDelegated,
};
