/**
 * What is in a zip or tar file, without reading all of it; and a tar file of many.
 *
 *     Blob --entriesOf--> [{name, blob()}] | null (it is no archive)      [{name, blob}] --tarOf--> Blob
 *
 * Zip: stored and deflated members, also zip64. Tar: ustar, with GNU and pax long names left as they are; .tar.gz too.
 * Members are unpacked when they are asked for, each time, and may not become larger than they say; what is unpacked
 * is checked against its CRC-32. A .tar.gz has to be unpacked whole, up to a gigabyte.
 */

const EOCD = 0x06054b50;
const EOCD64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LARGEST_COMMENT = 65535;
const STORED = 0;
const DEFLATED = 8;
const UTF8_FLAG = 0x800;
const ENCRYPTED_FLAG = 1;
const WHOLE_32 = 0xffffffff;
const TAR_BLOCK = 512;
const REGULAR = ["0", "\0", ""];
const MOST_ENTRIES = 20_000;
const MOST_UNPACKED = 2 ** 30;
const CRC_POLYNOMIAL = 0xedb88320;

/**
 * The files of an archive, or null.
 * @param {Blob} blob
 * @returns {Promise<{name: string, blob: () => Promise<Blob>}[] | null>}
 * @throws {Error} the archive is damaged or encrypted.
 */
export async function entriesOf(blob) {
  const start = new Uint8Array(await blob.slice(0, TAR_BLOCK).arrayBuffer());
  if (start[0] === 0x50 && start[1] === 0x4b) return zipEntries(blob);
  if (start[0] === 0x1f && start[1] === 0x8b) {
    const tooLarge = () => new Error("The file is larger than 1 GB when it is unpacked; unpack it first, or zip the series.");
    return tarEntries(await unpacked(blob, "gzip", MOST_UNPACKED, tooLarge));
  }
  return latin1(start.subarray(257, 262)) === "ustar" ? tarEntries(blob) : null;
}

/**
 * A tar file (ustar) of some files, made of references to them.
 * @param {{name: string, blob: Blob}[]} files
 */
export function tarOf(files) {
  const pieces = files.flatMap(({ blob }, index) => {
    // own names, since a path of the user's could be too long for the format
    const padding = new Uint8Array((TAR_BLOCK - (blob.size % TAR_BLOCK)) % TAR_BLOCK);
    return [tarHeader(`${String(index + 1).padStart(5, "0")}.dcm`, blob.size), blob, padding];
  });
  return new Blob([...pieces, new Uint8Array(2 * TAR_BLOCK)], { type: "application/x-tar" });
}

async function zipEntries(blob) {
  const { offset, size, count } = await directory(blob);
  if (count > MOST_ENTRIES) throw tooMany();
  const bytes = new Uint8Array(await blob.slice(offset, offset + size).arrayBuffer());
  const view = new DataView(bytes.buffer);
  const entries = [];
  for (let at = 0, left = count; left > 0; left--) {
    if (at + 46 > size || view.getUint32(at, true) !== CENTRAL) throw damaged();
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const name = (flags & UTF8_FLAG ? utf8 : latin1)(bytes.subarray(at + 46, nameEnd));
    const wide = wideFields(view, nameEnd, extraEnd);
    const crc = view.getUint32(at + 16, true);
    const whole = wide(view.getUint32(at + 24, true));
    const packed = wide(view.getUint32(at + 20, true));
    const header = wide(view.getUint32(at + 42, true));
    if (flags & ENCRYPTED_FLAG) throw new Error("The zip file is encrypted.");
    if (!name.endsWith("/")) entries.push({ name, blob: () => member(blob, { name, method, crc, whole, packed, header }) });
    at = extraEnd + view.getUint16(at + 32, true);
  }
  return entries;
}

/** Where the central directory lies: from the end record, and its 64 bit form where that says so. */
async function directory(blob) {
  const begin = Math.max(0, blob.size - LARGEST_COMMENT - 22);
  const view = new DataView(await blob.slice(begin).arrayBuffer());
  for (let at = view.byteLength - 22; at >= 0; at--) {
    if (view.getUint32(at, true) !== EOCD) continue;
    const count = view.getUint16(at + 10, true);
    const [size, offset] = [view.getUint32(at + 12, true), view.getUint32(at + 16, true)];
    if (offset !== WHOLE_32 && count !== 0xffff) return { count, size, offset };
    if (at < 20 || view.getUint32(at - 20, true) !== EOCD64_LOCATOR) throw damaged();
    const there = Number(view.getBigUint64(at - 12, true));
    const wide = new DataView(await blob.slice(there, there + 56).arrayBuffer());
    const number = (place) => Number(wide.getBigUint64(place, true));
    return { count: number(32), size: number(40), offset: number(48) };
  }
  throw damaged();
}

/** Reads the values that did not fit 32 bits from the zip64 extra field, in the order in which they are asked for. */
function wideFields(view, from, to) {
  let at = from;
  while (at + 4 <= to && view.getUint16(at, true) !== 1) at += 4 + view.getUint16(at + 2, true);
  at += 4;
  return (value) => {
    if (value !== WHOLE_32) return value;
    if (at + 8 > to) throw damaged();
    at += 8;
    return Number(view.getBigUint64(at - 8, true));
  };
}

async function member(blob, { name, method, crc, whole, packed, header }) {
  const local = new DataView(await blob.slice(header, header + 30).arrayBuffer());
  const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  const data = blob.slice(start, start + packed);
  if (![STORED, DEFLATED].includes(method)) throw new Error(`${name} is compressed in a way that is not read here; zip it again.`);
  const found = method === STORED ? data : await unpacked(data, "deflate-raw", whole, damaged);
  if (crc32(new Uint8Array(await found.arrayBuffer())) !== crc) throw damaged();
  return found;
}

async function unpacked(blob, format, most, tooLarge) {
  const chunks = [];
  let size = 0;
  const reader = blob.stream().pipeThrough(new DecompressionStream(format)).getReader();
  for (let piece = await reader.read().catch(failed); !piece.done; piece = await reader.read().catch(failed)) {
    size += piece.value.length;
    if (size > most) {
      await reader.cancel();
      throw tooLarge();
    }
    chunks.push(piece.value);
  }
  return new Blob(chunks);
}

/** CRC-32 (ISO 3309), as zip files state it. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? CRC_POLYNOMIAL ^ (value >>> 1) : value >>> 1;
  return value;
});

async function tarEntries(blob) {
  const entries = [];
  for (let at = 0; at + TAR_BLOCK <= blob.size; ) {
    if (entries.length > MOST_ENTRIES) throw tooMany();
    const header = new Uint8Array(await blob.slice(at, at + TAR_BLOCK).arrayBuffer());
    if (header.every((byte) => byte === 0)) break;
    const size = parseInt(latin1(header.subarray(124, 136)), 8);
    if (!(size >= 0)) throw damaged();
    const start = at + TAR_BLOCK;
    const kind = String.fromCharCode(header[156]);
    const name = utf8(header.subarray(0, 100)).replace(/\0.*$/s, "");
    if (REGULAR.includes(kind)) entries.push({ name, blob: async () => blob.slice(start, start + size) });
    at = start + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  return entries;
}

/** A ustar header (POSIX 1003.1-1988, 10.1.1) of a regular file. */
function tarHeader(name, size) {
  const header = new Uint8Array(TAR_BLOCK);
  const put = (text, at) => header.set(new TextEncoder().encode(text), at);
  const octal = (value, digits) => value.toString(8).padStart(digits, "0");
  put(name, 0);
  put(`${octal(0o644, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(0, 11)}\0`, 100);
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${octal(sum, 6)}\0 `, 148);
  return header;
}

const latin1 = (bytes) => String.fromCharCode(...bytes);
const utf8 = (bytes) => new TextDecoder().decode(bytes);
const damaged = () => new Error("The archive is damaged or cut off.");
const failed = () => {
  throw damaged();
};
const tooMany = () => new Error(`The archive has more than ${MOST_ENTRIES} files; split it.`);
