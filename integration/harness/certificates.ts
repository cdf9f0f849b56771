import {writeFile} from 'node:fs/promises';
import path from 'node:path';
import {runCommand} from './command.ts';
import {toolPath} from './debian.ts';

/** Files in PEM: one certificate for servers and clients alike, and the authority that signed it. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/**
 * Makes an authority and a certificate for these addresses in a directory, valid for a day. It
 * names nobody (no CN): with passwords, etcd's gateway refuses clients that show a name.
 */
export async function makeCertificates(
  directory: string,
  addresses: readonly string[],
): Promise<Certificates> {
  const file = (name: string) => path.join(directory, name);
  const openssl = (...argv: string[]) => runCommand([toolPath('openssl', 'etcd'), ...argv], {cwd: directory});
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...curve,
    '-days',
    '1',
    '-subj',
    '/CN=test-ca',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  await openssl('req', ...curve, '-subj', '/O=weft-test', '-keyout', 'key.pem', '-out', 'request.pem');
  const names = ['DNS:localhost', ...addresses.map((address) => `IP:${address}`)].join(',');
  await writeFile(file('extensions'), `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`);
  await openssl(
    ...[
      'x509',
      '-req',
      '-in',
      'request.pem',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '1',
    ],
    ...['-extfile', 'extensions', '-out', 'cert.pem'],
  );
  return {ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem')};
}
