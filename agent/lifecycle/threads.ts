// Half of them may wait for the kernel to end removals of links (lib/netlink/route/link-remover.ts).
const threads = 8;

/** As many threads for what blocks; libuv, which would take four, looks when the first is wanted. */
export function useThreads(): void {
  process.env['UV_THREADPOOL_SIZE'] ??= String(threads);
}
