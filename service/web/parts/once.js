/**
 * Requests that may be repeated without being done twice.
 *
 *     what is asked --same as before, and never answered--> the same Idempotency-Key
 *                   '-> else a new one
 */

/** A random UUID (RFC 9562, version 4); `crypto.randomUUID` is missing where the page came by plain http. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** @returns {{headersFor: (parts: any[]) => Object<string, string>, answered: () => void}} parts: all that is asked. */
export function onceOnly() {
  let open = null;
  return {
    headersFor(parts) {
      const same = open && open.parts.length === parts.length && parts.every((part, index) => part === open.parts[index]);
      if (!same) open = { parts, key: uuid() };
      return { "Idempotency-Key": open.key };
    },
    answered() {
      open = null;
    },
  };
}
