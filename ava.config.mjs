export default {
  files: ['test/**/*.test.ts', 'integration/**/*.test.ts', '!test/{helpers,fixtures}/**'],
  extensions: ['ts'],
  // A thread cannot have a network namespace of its own for long; a process can.
  workerThreads: false,
  timeout: '120s',
};
