import {randomInt} from 'node:crypto';
import {createSocket} from 'node:dgram';
import {connect} from 'node:net';
import {headerSize, headerFlag} from './constants.ts';

/** A server that questions are passed on to. */
export interface Upstream {
  readonly address: string;
  readonly port: number;
}

export interface RelayOptions {
  readonly transport: 'udp' | 'tcp';
  readonly timeoutMs: number;
}

/**
 * Passes a question on as it is, but for its id, and gives the answer as it came, with the id of the question: types and
 * options that we do not know survive. Undefined when no answer came in time.
 */
export function relay(
  message: Buffer,
  upstream: Upstream,
  {transport, timeoutMs}: RelayOptions,
): Promise<Buffer | undefined> {
  const question = Buffer.from(message);
  question.writeUInt16BE(randomInt(2 ** 16), 0);
  const {promise, resolve} = Promise.withResolvers<Buffer | undefined>();
  const ask = transport === 'udp' ? askUdp : askTcp;
  const stop = ask(question, upstream, (answer) => {
    // Somebody else may have sent it: a late answer, or a guess.
    if (answer !== undefined && !isAnswerTo(answer, question)) return;
    clearTimeout(timer);
    stop();
    if (answer !== undefined) message.copy(answer, 0, 0, 2);
    resolve(answer);
  });
  const timer = setTimeout(() => {
    stop();
    resolve(undefined);
  }, timeoutMs);
  return promise;
}

type Ask = (
  question: Buffer,
  upstream: Upstream,
  onAnswer: (answer: Buffer | undefined) => void,
) => () => void;

/** From a port of its own, which is as hard to guess as the id. */
const askUdp: Ask = (question, {address, port}, onAnswer) => {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  let isOpen = true;
  const stop = () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
  socket.on('message', onAnswer);
  // Nobody listens there: the next server is asked at once.
  socket.on('error', () => onAnswer(undefined));
  socket.connect(port, address, (error?: Error) => {
    if (!isOpen) return;
    if (error) onAnswer(undefined);
    else socket.send(question, (failed) => failed && isOpen && onAnswer(undefined));
  });
  return stop;
};

const askTcp: Ask = (question, {address, port}, onAnswer) => {
  const socket = connect({host: address, port});
  let received = Buffer.alloc(0);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(question.length);
  socket.on('connect', () => socket.write(Buffer.concat([length, question])));
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      onAnswer(Buffer.from(received.subarray(2, 2 + received.readUInt16BE(0))));
    }
  });
  socket.on('error', () => onAnswer(undefined));
  socket.on('end', () => onAnswer(undefined));
  return () => socket.destroy();
};

/** Whether it answers this very question: id, and the question in the same spelling (0x20). */
function isAnswerTo(answer: Buffer, question: Buffer): boolean {
  if (answer.length < headerSize || answer.readUInt16BE(0) !== question.readUInt16BE(0)) return false;
  if ((answer.readUInt16BE(2) & headerFlag.response) === 0) return false;
  // An error may come without the question.
  if (answer.readUInt16BE(4) === 0) return answer.length === headerSize;
  const end = endOfQuestion(question);
  return answer.length >= end && answer.subarray(headerSize, end).equals(question.subarray(headerSize, end));
}

function endOfQuestion(message: Buffer): number {
  let at = headerSize;
  while (at < message.length && message[at] !== 0) at += message[at]! + 1;
  return at + 5;
}
