import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {del} from './del.ts';
import {gc} from './gc.ts';
import {status} from './status.ts';

/** Limits what containers send and receive; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'bandwidth',
  // A chained plugin needs the interfaces of a result, which older versions do not have.
  versions: specVersions.slice(specVersions.indexOf('0.3.0')),
  add,
  del,
  check,
  gc,
  status,
};
