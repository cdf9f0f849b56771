import type {Call, Delegated} from '../../lib/cni/plugin.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {JsonObject} from '../../lib/cni/types.ts';
import {findPlaces, ownerOf} from './conf.ts';
import {findScratch} from './scratch.ts';

/** What the delegate that connected a container is told of it today; `undefined` where it is not written down (any more). */
export function findDelegated(call: Call): Delegated | undefined {
  const saved = findScratch(findPlaces(call).dataDir, ownerOf(call))?.conf;
  const type = saved && findKey(saved, 'type');
  return saved && typeof type === 'string' ? {type, conf: forCheck(call, saved)} : undefined;
}

/** The previous result is of today's version, whatever the configuration said at the time of the ADD. */
export function forCheck({conf}: Pick<Call, 'conf'>, delegate: JsonObject): JsonObject {
  const [cniVersion, prevResult] = [findKey(conf, 'cniVersion'), findKey(conf, 'prevResult')];
  return {
    ...delegate,
    ...(cniVersion !== undefined && {cniVersion}),
    ...(prevResult !== undefined && {prevResult}),
  };
}
