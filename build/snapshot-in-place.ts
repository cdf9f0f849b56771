import {findCode, machineOf, machines, putCode} from './code.ts';
import {findSymbol} from './symbols.ts';

/** `SnapshotDeserializer::Read<v8::StartupData>()`: how Node reads V8's part of the snapshot, 4 MB. */
const readStartupData = '_ZN4node20SnapshotDeserializer4ReadIN2v811StartupDataELPv0ELS4_0EEET_v';
/** `BlobDeserializer::ReadArithmetic<char>()`, which it calls. */
const readChars = '_ZN4node16BlobDeserializerINS_20SnapshotDeserializerEE14ReadArithmeticIcEEvPT_m';
/** `SnapshotData::~SnapshotData()` */
const destructor = '_ZN4node12SnapshotDataD1Ev';

/** See `findCode`. */
const expected = {
  // The size is in rdi: test it, new char[size], ReadArithmetic(data, size), return {data, size}.
  copy: '85ff7e27e8........486355ec4889df4889c64989c4e8........8b55ec4883c4104c89e05b415c5dc3',
  // read_total is at 8, the data of what is read at 24 of the deserializer.
  offsets: '488b73084c89ef48037318',
};
/** mov 8(%rbx), %rax; mov %rdi, %rdx; add %rdi, 8(%rbx); add 24(%rbx), %rax; and the function's own end. */
const inPlace = '488b43084889fa48017b08480343184883c4105b415c5dc3';
const ret = 'c3';

/**
 * Makes a Node executable use V8's part of the start-up snapshot where it is in the file, which processes share, instead of a
 * copy of its own. `false`, and nothing is changed, where Node's code is not the one that is known here.
 */
export function readSnapshotInPlace(image: Buffer): boolean {
  if (machineOf(image) !== machines.x64) return false;
  const at = findCode(image, readStartupData, expected.copy);
  const end = findSymbol(image, destructor);
  if (at === undefined || end === undefined || findCode(image, readChars, expected.offsets) === undefined)
    return false;
  putCode(image, at, inPlace);
  // It would free what was not allocated.
  putCode(image, end, ret);
  return true;
}
