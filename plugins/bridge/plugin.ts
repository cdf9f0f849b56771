import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {del} from './del.ts';
import {gc} from './gc.ts';
import {repair} from './repair.ts';
import {status} from './status.ts';

/** Connects containers to a bridge; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'bridge',
  versions: specVersions,
  add,
  del,
  check,
  gc,
  status,
  repair,
};
