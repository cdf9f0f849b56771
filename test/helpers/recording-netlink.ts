import {Writer} from '../../lib/netlink/writer.ts';
import type {Reply, Request} from '../../lib/netlink/message.ts';
import type {Outcome} from '../../lib/netlink/netlink.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import type {CapturedMessage} from './captures.ts';

/** What was asked of a kernel that is not there, and what it is to answer. */
export interface Recording extends RouteSocket {
  readonly sent: (CapturedMessage & {readonly what: string})[];
  answers: readonly CapturedMessage[];
}

/** A socket that keeps what it is asked, and answers questions with `answers`. */
export function recordingNetlink(): Recording {
  const keep = (request: Request, flags: number) => {
    const writer = new Writer();
    if (typeof request.body === 'function') request.body(writer);
    else if (request.body) writer.append(request.body);
    recording.sent.push({
      type: request.type,
      flags: (request.flags ?? 0) | flags,
      body: writer.bytes(),
      what: request.what,
    });
  };
  const recording: Recording = {
    family: 'route',
    sent: [],
    answers: [],
    request(request) {
      keep(request, 0x5);
      return Promise.resolve();
    },
    get(request, decode) {
      keep(request, 0x1);
      return Promise.resolve(decode(replyOf(recording.answers[0]!)));
    },
    dump(request, decode) {
      keep(request, 0x301);
      return Promise.resolve(
        recording.answers.map((answer) => decode(replyOf(answer))).filter((value) => value !== undefined),
      );
    },
    batch(requests) {
      for (const request of requests) keep(request, 0x1);
      return Promise.resolve(requests.map((): Outcome => ({error: undefined, replies: []})));
    },
    close() {},
  };
  return recording;
}

function replyOf({type, flags, body}: CapturedMessage): Reply {
  return {type, flags, buffer: body, start: 0, end: body.length};
}
