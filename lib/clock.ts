/**
 * Milliseconds of a clock that nobody sets, for measuring how long something takes. Not `performance.now()`: the first touch of
 * `performance` loads nine of Node's modules, two milliseconds of a plugin call.
 */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
