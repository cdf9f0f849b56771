import type {Plugin} from '../../lib/cni/plugin.ts';
import {isAtLeast, specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {del} from './del.ts';
import {gc} from './gc.ts';
import {repair} from './repair.ts';
import {status} from './status.ts';

/** Lets the traffic of containers through the host's firewall; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'firewall',
  versions: specVersions.filter((version) => isAtLeast(version, '0.4.0')),
  add,
  del,
  check,
  gc,
  status,
  repair,
};
