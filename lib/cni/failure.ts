import {CniError, errorCodes} from './error.ts';
import {formatJson} from './json.ts';

/** What a plugin that failed prints (spec section 5). */
export function formatFailure(error: unknown): string {
  const {code, message, details} = toCniError(error);
  return formatJson({code, msg: message, ...(details !== '' && {details})});
}

/**
 * Any failure as the runtime is to see it: the code and details of the CniError at its root, 999
 * without one, and as message the whole chain of causes, each said once.
 */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError && error.cause === undefined) return error;
  const root = findRoot(error);
  return new CniError(root?.code ?? errorCodes.internal, describe(error), root?.details ?? '', {
    cause: error,
  });
}

/** One line for a failure: its message, then those of its causes. */
export function describeFailure(error: unknown): string {
  const {message, details} = toCniError(error);
  return details === '' ? message : `${message}; ${details}`;
}

/** The CniError that an error is, wraps, or consists of; of several only if they agree on the code. */
function findRoot(error: unknown): CniError | undefined {
  if (error instanceof CniError) return error;
  if (error instanceof AggregateError) {
    const roots = error.errors.map(findRoot);
    const [first] = roots;
    if (!first || roots.some((root) => root?.code !== first.code)) return undefined;
    return roots.length === 1 ? first : new CniError(first.code, first.message);
  }
  return error instanceof Error ? findRoot(error.cause) : undefined;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.errors.length > 0) {
    const describeEach = error.errors.length === 1 ? describe : describeMember;
    return join(error.message, [...new Set(error.errors.map(describeEach))].join('; '));
  }
  return error.cause === undefined ? error.message || error.name : join(error.message, describe(error.cause));
}

/** With its details, which have no place of their own when there are several errors. */
function describeMember(error: unknown): string {
  const details = findRoot(error)?.details ?? '';
  return details === '' ? describe(error) : `${describe(error)} (${details})`;
}

function join(message: string, cause: string): string {
  if (message === '' || cause === message || cause.startsWith(`${message}: `)) return cause;
  return message.endsWith(`: ${cause}`) ? message : `${message}: ${cause}`;
}
