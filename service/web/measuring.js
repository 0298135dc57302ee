/** Below the panes: statistics of the region and the profile along the line, of every image that is shown. */

import { fill, h } from "./dom.js";
import { profile, statistics } from "./planes.js";
import { curves } from "./plot.js";
import { sortableTable } from "./table.js";

/**
 * @param {import("./session.js").Session} session
 * @param {import("./viewer.js").Viewer} viewer
 */
export function start(session, viewer) {
  const region = h("section", { class: "card", id: "region-card", "aria-label": "Region", hidden: true });
  const line = h("section", { class: "card", id: "profile-card", "aria-label": "Profile", hidden: true });
  viewer.addEventListener("drawn", () => {
    showRegion(region, session, viewer);
    showProfile(line, session, viewer);
  });
  return [region, line];
}

function showRegion(place, session, viewer) {
  const image = viewer.image();
  place.hidden = !image || !session.region;
  if (place.hidden) return;
  const { unit } = session.study.about;
  const rows = viewer.shown().map(({ view, values }) => ({ title: view.title, ...statistics(values, image, session.region) }));
  const known = rows.filter(({ n }) => n > 0);
  const digits = unit === "HU" ? 1 : 4;
  const column = (title, name, help) => ({ title, value: (row) => row[name], cell: (row) => row[name].toFixed(digits), number: true, help });
  const { n } = known[0] ?? { n: 0 };
  fill(
    place,
    h("h2", {}, `Region: ${n} pixels${area(n, image)}`),
    n === 0
      ? h("p", { class: "soft" }, "No pixel has its middle inside.")
      : sortableTable({
          label: "Statistics of the region",
          columns: [
            { title: "Image", value: (row) => row.title, head: true },
            column(`Mean, ${unit}`, "mean"), column("SD", "sd", "Standard deviation, n − 1"), column("Min", "min"), column("Max", "max"),
          ],
          rows: known,
        }),
  );
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
  const found = viewer.shown().map(({ view, values }) => ({ title: view.title, ...profile(values, image, line, image.spacing) }));
  if (!found.some(({ at }) => at.length > 1)) {
    fill(place, h("p", { class: "soft" }, "The line lies outside of the image."));
    return;
  }
  fill(place, h("h2", {}, "Profile"), curves(found, { across: image.spacing ? "mm" : "pixels", up: unit === "HU" ? "HU" : "value" }));
}
