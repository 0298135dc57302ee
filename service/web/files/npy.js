/** NPY files (NumPy's format, versions 1 to 3) as this service writes them: little endian, C order, float32. */

const MAGIC = "\x93NUMPY";
const WIDE_HEADER_SINCE = 2;
const HEADER_BYTES = 128;

/**
 * The array of an NPY file.
 * @param {ArrayBuffer} buffer
 * @param {number} [start] where in the buffer the file begins.
 * @returns {{shape: number[], data: Float32Array}} a view of the buffer where its alignment allows one.
 * @throws {Error} what it is not.
 */
function readNpy(buffer, start = 0) {
  const bytes = new Uint8Array(buffer, start);
  if (latin1(bytes.subarray(0, 6)) !== MAGIC) throw new Error("The answer is no NPY file.");
  const view = new DataView(buffer, start);
  const wide = bytes[6] >= WIDE_HEADER_SINCE;
  const begin = wide ? 12 : 10;
  const end = begin + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = latin1(bytes.subarray(begin, end));
  if (!/'descr':\s*'<f4'/.test(header) || !/'fortran_order':\s*False/.test(header)) {
    throw new Error(`The answer is no float32 array in C order: ${header.trim()}`);
  }
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)[1].split(",").filter((side) => side.trim()).map(Number);
  const length = shape.reduce((product, side) => product * side, 1);
  const offset = start + end;
  if (offset % 4 === 0) return { shape, data: new Float32Array(buffer, offset, length) };
  return { shape, data: new Float32Array(buffer.slice(offset, offset + 4 * length)) };
}

/**
 * The images of an NPY file.
 * @param {ArrayBuffer} buffer
 * @returns {import("../viewer/planes.js").Plane[]} one of (H, W), N of (N, H, W).
 */
export function readPlanes(buffer, start = 0) {
  const { shape, data } = readNpy(buffer, start);
  const [rows, columns] = shape.slice(-2);
  const size = rows * columns;
  const count = shape.length === 3 ? shape[0] : 1;
  return Array.from({ length: count }, (_, index) => ({ data: data.subarray(index * size, (index + 1) * size), rows, columns }));
}

const latin1 = (bytes) => String.fromCharCode(...bytes);

/** An NPY file of a plane, float32, (H, W). */
export function writeNpy({ data, rows, columns }) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  const padded = `${header.padEnd(HEADER_BYTES - 11)}\n`;
  const start = Uint8Array.from([...MAGIC, "\x01", "\x00"].map((letter) => letter.charCodeAt(0)));
  const length = Uint8Array.from([padded.length & 0xff, padded.length >> 8]);
  return new Blob([start, length, padded, Float32Array.from(data)], { type: "application/x-npy" });
}
