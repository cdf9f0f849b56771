import type {Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {del} from './del.ts';

/** Routes by source address; README.md is its user's page. */
export const plugin: Plugin<Host> = {name: 'sbr', versions: specVersions, add, del, check, gc, status};

/** There is nothing outside the container's namespace. */
async function gc(): Promise<void> {}

async function status(): Promise<void> {}
