import test, {type ExecutionContext} from 'ava';
import {type Invocation, parseInvocation} from '../../cli/invocation.ts';

const plugins = new Set(['bridge', 'loopback']);

function reads(t: ExecutionContext, args: readonly string[], expected: Invocation): void {
  t.deepEqual(parseInvocation(['/opt/cni/bin/.weft/1.0.0/weft', ...args], plugins), expected);
}

test('a link by its path', reads, ['/opt/cni/bin/bridge'], {kind: 'plugin', name: 'bridge'});
test('a name found in PATH', reads, ['bridge'], {kind: 'plugin', name: 'bridge'});
test('a plugin ignores arguments', reads, ['bridge', 'version'], {kind: 'plugin', name: 'bridge'});
test('a stub', reads, ['/x/weft', '--plugin', '/opt/cni/bin/loopback'], {kind: 'plugin', name: 'loopback'});
test('a stub of a plugin that is not there', reads, ['weft', '--plugin', '/opt/cni/bin/portmap'], {
  kind: 'plugin',
  name: 'portmap',
});
test('the stub of weft itself', reads, ['weft', '--plugin', '/opt/cni/bin/weft', 'gc', 'net'], {
  kind: 'weft',
  args: ['gc', 'net'],
});
test('the stub of cnitool', reads, ['weft', '--plugin', '/opt/cni/bin/cnitool', 'add'], {
  kind: 'cnitool',
  args: ['add'],
});
test('cnitool by link', reads, ['cnitool', 'add', 'n', 'ns'], {kind: 'cnitool', args: ['add', 'n', 'ns']});
test('weft with a command', reads, ['weft', 'install', '--force'], {
  kind: 'weft',
  args: ['install', '--force'],
});
test('--plugin without a path', reads, ['weft', '--plugin'], {kind: 'weft', args: ['--plugin']});
test('a file that was renamed', reads, ['./weft-1.0.0', 'version'], {kind: 'weft', args: ['version']});
test('no name at all', reads, [], {kind: 'weft', args: []});
