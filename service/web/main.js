/**
 * The page: which view is open, whether the service is ready, the key, the theme, the help; and the parts of the viewer.
 *
 *     #images -> Session, Viewer, panels     #models, #jobs, #pacs -> modules that work only while they are shown
 */

import { call, key, keys, setKey } from "./api.js";
import * as choosing from "./viewer/choosing.js";
import { byId, fill, h, say } from "./dom.js";
import { KEYS, listen } from "./viewer/gestures.js";
import * as jobs from "./jobs/jobs.js";
import * as keep from "./viewer/keep.js";
import * as measuring from "./viewer/measuring.js";
import * as metrics from "./viewer/metrics.js";
import * as models from "./models/models.js";
import * as opened from "./viewer/opened.js";
import * as opening from "./viewer/opening.js";
import * as pacs from "./pacs/pacs.js";
import { Session } from "./viewer/session.js";
import * as toolbar from "./viewer/toolbar.js";
import * as unit from "./viewer/unit.js";
import { Viewer } from "./viewer/viewer.js";

const READINESS_MS = 5000;
const THEME = "clearslice-theme";

const session = new Session();
const viewer = new Viewer(session, byId("panes"));

function startImages() {
  listen(session, viewer);
  toolbar.start(session, viewer, { toolbar: byId("toolbar"), slices: byId("slices") });
  choosing.start(session);
  for (const part of [opening, opened, unit]) part.start(session);
  fill(byId("below"), metrics.start(session), measuring.start(session, viewer), keep.start(session));
  const strength = byId("strength");
  strength.addEventListener("input", () => session.set({ strength: strength.valueAsNumber }));
  session.addEventListener("change", () => (byId("strength-value").textContent = session.strength.toFixed(2)));
  viewer.addEventListener("drawn", tellCursor);
}

function tellCursor() {
  const { cursor, study } = session;
  const where = cursor && `x ${Math.round(cursor.x)}, y ${Math.round(cursor.y)}: `;
  const values = viewer.panes.map((pane) => [pane.title.textContent, pane.value.textContent]).filter(([, value]) => value);
  byId("readout").textContent = cursor && study?.about ? where + values.map((each) => each.join(" ")).join("; ") : "";
}

async function readStore() {
  try {
    await choosing.readStore(session);
  } catch (error) {
    if (error.status !== 401) say(error.message, "error");
  }
}

const others = new Map([["models", models], ["jobs", jobs], ["pacs", pacs]].map(([name, module]) => [name, { module, view: null }]));
let open = "";

/** Opens the view that the address names; what the one before did for its readers ends. */
function route() {
  const name = location.hash ? location.hash.slice(1) : "images";
  if (name === open || !(name === "images" || others.has(name))) return;
  others.get(open)?.view.hidden();
  open = name;
  for (const view of document.querySelectorAll("main > section")) view.hidden = view.id !== name;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const other = others.get(name);
  if (!other) {
    if (session.store.length > 0) readStore(); // labels, and what is loaded, may have changed
    return;
  }
  other.view ??= other.module.start(byId(name));
  other.view.shown();
}

async function readiness() {
  const chip = byId("readiness");
  let [state, words] = ["good", "ready"];
  try {
    await call("v2/health/ready", { tries: 1 });
  } catch (error) {
    state = error.status ? "warn" : "bad";
    words = error.document?.reason ?? error.message;
  }
  const came = state === "good" && chip.className !== "chip good";
  chip.className = `chip ${state}`;
  if (chip.textContent !== words) chip.textContent = words;
  if (came && session.store.length === 0) readStore();
  if (came) session.retry();
}

function startKeys() {
  const dialog = byId("key-dialog");
  let declined = false; // then requests that go on without a key ask no more
  const ask = () => {
    if (dialog.open) return;
    byId("key").value = key();
    dialog.showModal();
  };
  byId("key-button").addEventListener("click", ask);
  keys.addEventListener("asked", ask);
  keys.addEventListener("wanted", () => declined || ask());
  dialog.addEventListener("close", () => {
    declined = dialog.returnValue === "cancel" || dialog.returnValue === "";
    if (dialog.returnValue === "keep") setKey(byId("key").value.trim());
    if (dialog.returnValue === "forget") setKey("");
    byId("key").value = "";
  });
  keys.addEventListener("changed", () => {
    readStore();
    session.retry();
  });
}

function startTheme() {
  const { dataset } = document.documentElement;
  dataset.theme = kept(() => localStorage.getItem(THEME)) ?? "dark";
  byId("theme-button").addEventListener("click", () => {
    dataset.theme = dataset.theme === "dark" ? "light" : "dark";
    kept(() => localStorage.setItem(THEME, dataset.theme));
  });
}

/** What a browser that keeps nothing refuses is done without. */
function kept(work) {
  try {
    return work();
  } catch {
    return null;
  }
}

function startHelp() {
  const dialog = byId("help-dialog");
  fill(
    dialog,
    h("h2", { id: "help-title" }, "Keyboard and mouse"),
    h("p", {}, "With the images in focus (Tab, or a click):"),
    h("table", {}, KEYS.map(([shown, does]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, shown)), h("td", {}, does)))),
    h("p", {}, "Dragging uses the tool; the right button pans; the wheel goes through slices, and with Ctrl it zooms; a double click fits."),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  byId("help-button").addEventListener("click", () => dialog.showModal());
  addEventListener("keydown", (event) => {
    if (event.key === "?" && !event.target.matches("input, select, textarea") && !dialog.open) dialog.showModal();
  });
}

async function tellVersion() {
  const answer = await call("v2", { tries: 1 }).catch(() => null);
  if (answer) byId("server-version").textContent = `clearslice ${(await answer.json()).version}`;
}

startTheme();
startHelp();
startKeys();
startImages();
addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("view").focus();
});
route();
if (!open) location.hash = "#images";
readiness();
setInterval(() => document.hidden || readiness(), READINESS_MS);
tellVersion();
