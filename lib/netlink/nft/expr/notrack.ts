import {attrs} from '../../attrs.ts';

/** `[ notrack ]`: it has no attributes. */
export const notrack = attrs({});
