type Compact<T> = {[K in keyof T]: Exclude<T[K], undefined>};

/** Without the keys whose value is undefined: a result prints every key it has. */
export function compact<T extends object>(value: T): Compact<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Compact<T>;
}
