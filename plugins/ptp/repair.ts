import {masqueradeParts} from '../../lib/nat/masquerade-repair.ts';
import {repairOf} from '../../lib/nat/repair.ts';
import {parsePtpConf} from './conf.ts';

export const repair = repairOf((call, host) => {
  const conf = parsePtpConf(call);
  return conf.ipamType === undefined ? [] : masqueradeParts(call, host, conf);
});
