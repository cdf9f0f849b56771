import {eachAttribute, putAttribute, type Values} from '../attrs.ts';
import {string} from '../codec.ts';
import {Flag} from '../message.ts';
import type {RouteSocket} from '../route/socket.ts';
import {rtmTc, tca, tcmsg} from './common.ts';
import {formatHandle} from './handle.ts';
import {htb} from './qdisc/htb.ts';

/** A class of an htb qdisc: a share of the link's rate. */
export interface HtbClass {
  readonly ifindex: number;
  readonly parent: number;
  readonly handle: number;
  readonly options: Values<typeof htb.table>;
}

/** Makes a class; EEXIST if the qdisc has one of that number. */
export function addHtbClass(
  rt: RouteSocket,
  {link, ...wanted}: HtbClass & {readonly link: string},
): Promise<void> {
  const {ifindex, parent, handle, options} = wanted;
  return rt.request({
    type: rtmTc.newClass,
    flags: Flag.create | Flag.exclusive,
    body(w) {
      tcmsg.putPart(w, {ifindex, parent, handle});
      putAttribute(w, tca.kind, string, 'htb');
      putAttribute(w, tca.options, htb, options);
    },
    what: `add class htb ${formatHandle(handle)} to ${link}`,
  });
}

/** The htb classes of a link. */
export function listHtbClasses(rt: RouteSocket, {ifindex}: {readonly ifindex: number}): Promise<HtbClass[]> {
  return rt.dump(
    {type: rtmTc.getClass, body: (w) => tcmsg.putPart(w, {ifindex}), what: `list classes of link ${ifindex}`},
    ({buffer, start, end}) => {
      const {ifindex: index, parent, handle} = tcmsg.get(buffer, start, end);
      let kind = '';
      let options: HtbClass['options'] = {};
      eachAttribute(buffer, start + tcmsg.size, end, (number, from, to) => {
        if (number === tca.kind) kind = string.get(buffer, from, to);
        else if (number === tca.options && kind === 'htb') options = htb.get(buffer, from, to);
      });
      return index === ifindex && kind === 'htb' ? {ifindex, parent, handle, options} : undefined;
    },
  );
}
