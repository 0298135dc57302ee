/** Below the panes: statistics of the region and the profile along the line, of every image that is shown. */

import { h, refill } from "../dom.js";
import { profile, statistics } from "./planes.js";
import { curves } from "../parts/plot.js";
import { sortableTable } from "../parts/table.js";

/**
 * @param {import("./session.js").Session} session
 * @param {import("./viewer.js").Viewer} viewer
 */
export function start(session, viewer) {
  const sorted = {};
  const region = h("section", { class: "card", id: "region-card", "aria-label": "Region", hidden: true });
  const line = h("section", { class: "card", id: "profile-card", "aria-label": "Profile", hidden: true });
  viewer.addEventListener("drawn", () => {
    showRegion(region, session, viewer, sorted);
    showProfile(line, session, viewer);
  });
  return [region, line];
}

function showRegion(place, session, viewer, sorted) {
  const image = viewer.image();
  place.hidden = !image || !session.region;
  if (place.hidden) return;
  const { unit } = session.study.about;
  const shown = viewer.shown();
  refill(place, [versionsOf(shown), session.region, unit], () => {
    const rows = shown.map(({ view, values }) => ({ title: view.title, ...statistics(values, image, session.region) })).filter(({ n }) => n > 0);
    const n = rows[0]?.n ?? 0;
    const heading = h("h2", {}, `Region: ${n} pixels${area(n, image)}`);
    if (n === 0) return [heading, h("p", { class: "soft" }, "No pixel has its middle inside.")];
    return [heading, sortableTable({ label: "Statistics of the region", columns: columnsOf(unit), rows, sorted })];
  });
}

function columnsOf(unit) {
  const digits = unit === "HU" ? 1 : 4;
  const column = (title, name, help) => ({ title, value: (row) => row[name], cell: (row) => row[name].toFixed(digits), number: true, help });
  return [
    { title: "Image", value: (row) => row.title, head: true },
    column(`Mean, ${unit}`, "mean"),
    column("SD", "sd", "Standard deviation, n − 1"),
    column("Min", "min"),
    column("Max", "max"),
  ];
}

function area(n, { spacing }) {
  return spacing ? `, ${((n * spacing[0] * spacing[1]) / 100).toFixed(2)} cm²` : "";
}

function showProfile(place, session, viewer) {
  const image = viewer.image();
  const { line } = session;
  place.hidden = !image || !line || (line.from.x === line.to.x && line.from.y === line.to.y);
  if (place.hidden) return;
  const { unit } = session.study.about;
  const shown = viewer.shown();
  refill(place, [versionsOf(shown), line, unit], () => {
    const found = shown.map(({ view, values }) => ({ title: view.title, ...profile(values, image, line, image.spacing) }));
    if (!found.some(({ at }) => at.length > 1)) return [h("p", { class: "soft" }, "The line lies outside of the image.")];
    return [h("h2", {}, "Profile"), curves(found, { across: image.spacing ? "mm" : "pixels", up: unit === "HU" ? "HU" : "value" })];
  });
}

const versionsOf = (shown) => shown.map(({ view, version }) => [view.title, version]);
