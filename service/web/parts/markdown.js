/**
 * Markdown as model cards use it, as elements: headings, paragraphs, lists, tables, code, emphasis, links to http(s).
 *
 *     text --blocksOf--> blocks --rendered, spansOf--> elements
 *
 * Everything else, HTML too, is shown as the text that it is.
 */

import { h } from "../dom.js";

const FENCE = /^```/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^\s{0,3}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const ROW = /^\s*\|/;
const RULE = /^\s*\|[\s:|-]*-[\s:|-]*$/;
const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^[\]]+)\]\((https?:\/\/[^\s()]+)\)/g;
const DEEPEST = 6;

/**
 * Elements of a text.
 * @param {string} text
 * @param {number} level of the highest heading: 3 makes `#` an h3.
 * @returns {HTMLElement[]}
 */
export const markdown = (text, level = 1) => blocksOf(text).map((block) => rendered(block, level));

/** The blocks of a text, in order: {kind: "heading" | "code" | "table" | "list" | "paragraph", ...}. */
function blocksOf(text) {
  const lines = text.split(/\r?\n/);
  const blocks = [];
  let at = 0;
  const take = (wanted) => {
    const from = at;
    while (at < lines.length && wanted(lines[at])) at++;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = HEADING.exec(line);
    if (!line.trim()) at++;
    else if (heading) {
      blocks.push({ kind: "heading", level: heading[1].length, text: heading[2] });
      at++;
    } else if (FENCE.test(line)) {
      at++;
      blocks.push({ kind: "code", text: take((each) => !FENCE.test(each)).join("\n") });
      at++;
    } else if (startsTable(lines, at)) blocks.push(tableOf(take((each) => ROW.test(each))));
    else if (ITEM.test(line)) blocks.push(listOf(take((each) => ITEM.test(each) || /^\s+\S/.test(each))));
    else {
      at++; // whatever it is, it is shown
      const more = take((each) => each.trim() && ![HEADING, FENCE, ITEM, ROW].some((start) => start.test(each)));
      blocks.push({ kind: "paragraph", text: [line, ...more].join(" ") });
    }
  }
  return blocks;
}

/** The pieces of a line: {kind: "text" | "code" | "strong" | "em" | "link", text, href?}. */
function spansOf(text) {
  const spans = [];
  let end = 0;
  for (const found of text.matchAll(SPAN)) {
    const [whole, code, strong, em, label, href] = found;
    if (found.index > end) spans.push({ kind: "text", text: text.slice(end, found.index) });
    if (code !== undefined) spans.push({ kind: "code", text: code });
    else if (strong !== undefined) spans.push({ kind: "strong", text: strong });
    else if (em !== undefined) spans.push({ kind: "em", text: em });
    else spans.push({ kind: "link", text: label, href });
    end = found.index + whole.length;
  }
  if (end < text.length) spans.push({ kind: "text", text: text.slice(end) });
  return spans;
}

const startsTable = (lines, at) => ROW.test(lines[at]) && RULE.test(lines[at + 1] ?? "");

function tableOf([head, , ...rows]) {
  return { kind: "table", head: cells(head), rows: rows.map(cells) };
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function listOf(lines) {
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item) items.push(item[2]);
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return { kind: "list", numbered: ITEM.exec(lines[0])[1] !== undefined, items };
}

function rendered(block, level) {
  switch (block.kind) {
    case "heading": return h(`h${Math.min(DEEPEST, block.level + level - 1)}`, {}, inline(block.text));
    case "code": return h("pre", {}, h("code", {}, block.text));
    case "list": return h(block.numbered ? "ol" : "ul", {}, block.items.map((item) => h("li", {}, inline(item))));
    case "table": return table(block);
    default: return h("p", {}, inline(block.text));
  }
}

function table({ head, rows }) {
  const headed = head.some(Boolean) && h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell)))));
  const body = rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell)))));
  return h("div", { class: "scroll" }, h("table", {}, headed, h("tbody", {}, body)));
}

const inline = (text) => spansOf(text).map(spanned);

function spanned({ kind, text, href }) {
  if (kind === "text") return text;
  if (kind === "link") return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, text);
  return h(kind, {}, text);
}
