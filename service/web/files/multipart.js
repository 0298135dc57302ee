/** multipart/mixed answers of this service: every part says its Content-Length. */

const BLANK_LINE = [13, 10, 13, 10];

/**
 * The parts of an answer.
 * @param {ArrayBuffer} buffer the body.
 * @param {string} contentType its header, with the boundary.
 * @returns {{headers: Headers, start: number, end: number}[]} where each lies in the buffer.
 * @throws {Error} the body is not what its header says.
 */
export function readParts(buffer, contentType) {
  const boundary = /boundary="?([^";]+)"?/.exec(contentType)?.[1];
  const bytes = new Uint8Array(buffer);
  const parts = [];
  for (let at = 0; ; ) {
    const head = at + `--${boundary}\r\n`.length;
    if (!boundary || text(bytes, at, head - 2) !== `--${boundary}`) throw new Error("The answer's parts do not fit its header.");
    if (text(bytes, head - 2, head) === "--") return parts;
    const start = indexOf(bytes, BLANK_LINE, head) + BLANK_LINE.length;
    const headers = new Headers(
      text(bytes, head, start - BLANK_LINE.length)
        .split("\r\n")
        .map((line) => line.split(/:\s*(.*)/s, 2)),
    );
    const end = start + Number(headers.get("Content-Length"));
    parts.push({ headers, start, end });
    at = end + 2;
  }
}

/** The JSON of a part. */
export function jsonOf(buffer, { start, end }) {
  return JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, start, end - start)));
}

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

function indexOf(bytes, wanted, from) {
  for (let at = from; at <= bytes.length - wanted.length; at++) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  throw new Error("The answer's parts do not fit its header.");
}
