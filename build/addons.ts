import {root} from './paths.ts';
import {putFile} from './put-file.ts';

/** The native addons, by the names under which cli/addon.ts finds them beside the executable. */
const addons = {
  'koffi.node': `${root}/node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
  'netlink.node': `${root}/node_modules/netlink/prebuilds/linux-${process.arch}/node.napi.node`,
} as const;

export const addonNames = Object.keys(addons);

export function putAddons(folder: string): void {
  for (const [name, source] of Object.entries(addons)) putFile(source, `${folder}/${name}`);
}
