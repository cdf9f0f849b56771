import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {del} from './del.ts';
import {gc} from './gc.ts';
import {repair} from './repair.ts';
import {status} from './status.ts';

/** Forwards ports of the host to containers; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'portmap',
  versions: specVersions,
  add,
  del,
  check,
  gc,
  status,
  repair,
};
