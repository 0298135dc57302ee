/**
 * The page of models.
 *
 *     GET v1/models, again while shown --> all models | scores of all models --a ref is pressed--> one version
 *                                             ^------------------- Back -------------------'
 */

import { callJson } from "../api.js";
import { choice } from "../parts/choice.js";
import { fill, h, refill } from "../dom.js";
import { whenChanged } from "../parts/keyed.js";
import { comparison } from "./compare.js";
import { isDefault, labelChips, labelsOf, modelTable, rowsOf } from "./list.js";
import { memoryButton, pathOf, runsWords, stateChip } from "./state.js";
import { versionPage } from "./version.js";
import { promotion } from "./promotion.js";
import { isAnswer, isFinal, refusal } from "../parts/refusal.js";
import { repeating } from "../parts/repeat.js";
import { viewOf } from "../parts/view.js";

const EVERY_S = 10;
const GONE = { labels: {}, canary_weight: 0, versions: [] };
const UNITS = [
  { value: "", text: "HU and relative" },
  { value: "HU", text: "HU (CT)" },
  { value: "relative", text: "relative (pictures)" },
];

/** What a comparison needs of a row: whether it is loaded changes nothing there. */
const scored = ({ ref, name, version, scores }) => ({ ref, name, version, scores });

/** @param {HTMLElement} section empty. */
export function start(section) {
  let found = { default: null, models: [] };
  let mode = "list";
  let opened = null;

  const trouble = h("div");
  const list = h("div", { id: "model-table" });
  const compare = comparison({ open });
  const version = h("article", { id: "model-version", hidden: true });
  const unit = choice("Unit", () => draw(), { id: "model-unit" });
  unit.offer(UNITS);
  const modes = [["list", "All models"], ["compare", "Scores of all models"]].map(([name, text]) =>
    h("button", { type: "button", dataset: { mode: name }, onclick: () => turn(name) }, text));
  const heading = h("div", { class: "row head" }, h("h1", {}, "Models"), modes, unit.element, h("span", { class: "grow" }),
    h("a", { href: "web/which-loss.html", target: "_blank", rel: "noopener" }, "Which loss suits which noise?"));
  fill(section, heading, trouble, list, compare.element, version);

  const rows = () => rowsOf(found).filter((row) => !unit.value() || !row.unit || row.unit === unit.value());
  const sorted = { column: 0, descending: false };
  const drawList = (shown) => refill(list, shown, () => [modelTable(shown, sorted, { open, changed })]);
  const drawCompare = whenChanged((shown) => compare.show(shown));
  const again = repeating(load, EVERY_S);

  async function load(signal) {
    try {
      found = await callJson("v1/models", { signal });
      refill(trouble, null, () => []);
      draw();
      return true;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      refill(trouble, error.message, () => [refusal(error)]);
      return !isFinal(error);
    }
  }

  async function changed() {
    await load();
  }

  function turn(to) {
    mode = to;
    draw();
  }

  function draw() {
    for (const each of modes) each.setAttribute("aria-pressed", String(each.dataset.mode === mode));
    list.hidden = mode !== "list";
    compare.element.hidden = mode !== "compare";
    version.hidden = mode !== "version";
    unit.element.hidden = mode === "version";
    if (mode === "list") drawList(rows());
    if (mode === "compare") drawCompare(rows().map(scored));
    if (mode === "version") opened?.update();
  }

  async function open(row) {
    const from = mode === "version" ? "list" : mode;
    const back = h("button", { type: "button", onclick: () => close(from, row.ref) }, "← Back");
    const title = h("h2", { tabindex: "-1" }, row.ref);
    fill(version, h("div", { class: "row head" }, back, title));
    opened = null;
    turn("version");
    title.focus();
    try {
      const answer = await callJson(pathOf(row.name, row.version));
      if (!version.contains(title)) return; // another was opened meanwhile
      opened = status(row.name, row.version);
      fill(version, h("div", { class: "row head" }, back, title, opened.chips), opened.actions, versionPage(answer));
      opened.update();
    } catch (error) {
      if (!isAnswer(error)) throw error;
      if (version.contains(title)) version.append(refusal(error));
    }
  }

  function close(from, ref) {
    turn(from);
    section.querySelector(`#${from === "list" ? "model-table" : "compare"} [data-ref="${CSS.escape(ref)}"]`)?.focus();
  }

  /** What of an open version may change: labels and state. */
  function status(name, number) {
    const model = () => found.models.find((each) => each.name === name) ?? GONE;
    const chips = h("span", { class: "row" });
    const memory = h("span");
    const actions = h("div", { class: "row actions" }, memory, promotion(name, number, () => model().labels, changed));
    const redraw = whenChanged(({ labels, isTheDefault, now }) => {
      fill(chips, labelChips(labels, isTheDefault), stateChip(now), h("span", { class: "soft" }, runsWords(now)));
      fill(memory, memoryButton(name, number, now.state, changed));
    });
    const update = () => {
      const now = model().versions.find((each) => each.version === number) ?? { state: "gone" };
      const { state, reason, precision, device, timings } = now;
      redraw({
        labels: labelsOf(model(), number),
        isTheDefault: isDefault(found.default, model(), number),
        now: { state, reason, precision, device, timings },
      });
    };
    return { chips, actions, update };
  }

  return viewOf(again);
}
