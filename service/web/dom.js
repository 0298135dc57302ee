/**
 * Elements from data, so that nothing of a file or an answer is ever read as HTML.
 *
 *     h("p", {class: "soft"}, "text", element, ["list", "of", "them"]) -> HTMLElement
 */

/**
 * An element.
 * @param {string} tag
 * @param {Object<string, any>} [attributes] `class`, `dataset`, `on...` listeners, properties such as `value`; null,
 *     undefined and false leave an attribute out.
 * @param {...any} children text, nodes, or lists of them; null and false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...content(children));
  return element;
}

/** An SVG element; as `h`, with all attributes set as text. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...content(children));
  return element;
}

/** Replaces all that is in an element. */
export function fill(element, ...children) {
  element.replaceChildren(...content(children));
  return element;
}

/**
 * Replaces all that is in an element, when what it shows has changed; the focus stays at its place in it.
 * @param {HTMLElement} element
 * @param {any} shown all that its content follows from, as JSON can say it.
 * @param {() => any[]} build its content.
 */
export function refill(element, shown, build) {
  const wanted = JSON.stringify(shown);
  if (filled.get(element) === wanted) return;
  filled.set(element, wanted);
  const focusable = () => [...element.querySelectorAll("button, input, select, summary, [tabindex]")];
  const at = element.contains(document.activeElement) ? focusable().indexOf(document.activeElement) : -1;
  fill(element, build());
  if (at >= 0) focusable()[at]?.focus();
}

const filled = new WeakMap();

/** The element of the page with that id. */
export const byId = (id) => document.getElementById(id);

/** A button that says when its work failed, and cannot be pressed twice meanwhile. */
export function button(label, work, attributes = {}) {
  const made = h("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", async () => {
    made.setAttribute("aria-busy", "true");
    made.disabled = true;
    try {
      await work();
    } catch (error) {
      say(error.message, "error");
    } finally {
      made.disabled = false;
      made.removeAttribute("aria-busy");
      if (document.activeElement === document.body && made.isConnected) made.focus();
    }
  });
  return made;
}

/**
 * Says something at the foot of the page, and to screen readers.
 * @param {string} text
 * @param {"note" | "error"} kind errors stay until they are closed.
 */
export function say(text, kind = "note") {
  const toast = h("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" }, h("p", {}, text));
  const close = () => toast.remove();
  toast.append(h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: close }, "×"));
  byId("toasts").append(toast);
  if (kind !== "error") setTimeout(close, NOTE_MS);
  return close;
}

const NOTE_MS = 5000;

function set(element, name, value) {
  if (value == null || value === false) return;
  if (name === "class") element.className = value;
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name in element && typeof value !== "string") element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

function content(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}
