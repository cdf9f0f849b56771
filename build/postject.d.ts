declare module 'postject' {
  const postject: {
    inject(path: string, resource: string, data: Buffer, options: {sentinelFuse: string}): Promise<void>;
  };
  export default postject;
}
