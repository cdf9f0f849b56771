/** Why a text cannot be a name; undefined for one that can. Names are labels of letters, digits, "-" and "_", parted by dots. */
export function findNameFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.length > 200) return `it is longer than 200 characters`;
  for (const label of name.split('.')) {
    if (label === '') return 'a dot stands at its end or beside another';
    if (label.length > 63) return `"${label}" is longer than 63 characters`;
    if (!/^[A-Za-z0-9_-]+$/.test(label))
      return 'it has characters other than letters, digits, "-", "_" and "."';
    if (label.startsWith('-') || label.endsWith('-')) return `"${label}" begins or ends with "-"`;
  }
  return undefined;
}

/** A network's name as one label of a domain: what no label may hold becomes "-". */
export function labelOfNetwork(network: string): string {
  const label = network.toLowerCase().replaceAll(/[^a-z0-9_-]+/g, '-');
  return label.replaceAll(/^-+|-+$/g, '').slice(0, 63) || 'network';
}
