/**
 * What the scores of model versions say; pure.
 *
 *     scores --choices--> what there is to choose     --chosen--> those of one metric and contract     --gainOf--> numbers
 */

/** Of each metric: its name, its unit (null: that of the model), and which way is better. */
const METRICS = {
  psnr: { name: "PSNR", unit: "dB", better: 1, digits: 2 },
  ssim: { name: "SSIM", unit: "", better: 1, digits: 4 },
  rmse: { name: "RMSE", unit: null, better: -1, digits: 2 },
};
const RELATIVE_DIGITS = 4;

/** What is known of a metric; one that this page does not know is shown as it is, and no gain is claimed for it. */
export const metricOf = (id) => METRICS[id] ?? { name: id, unit: "", better: 0, digits: 4 };

/** Whether more of it is better (1), less (-1), or nobody said (0). */
export const betterOf = (score) => metricOf(score.metric).better;

/** "PSNR, dB"; of a score, since the unit may be that of its contract. */
export function metricTitle(score) {
  const { name, unit } = metricOf(score.metric);
  const shown = unit ?? (score.contract.unit === "HU" ? "HU" : "");
  return shown ? `${name}, ${shown}` : name;
}

/** "soft tissue window, -160 to 240 HU" */
export function contractTitle({ name, low, high, unit }) {
  return `${name}, ${low} to ${high}${unit === "HU" ? " HU" : ""}`;
}

/** A value of a score, with the digits of its metric; "–" where there is none. */
export function shown(value, score) {
  if (!Number.isFinite(value)) return "–";
  const small = score.contract.unit === "relative" && metricOf(score.metric).unit === null;
  return value.toFixed(small ? RELATIVE_DIGITS : metricOf(score.metric).digits);
}

/** By how much an image became better; null where nobody said which way that is. */
export function gainOf(score) {
  const better = betterOf(score);
  const both = Number.isFinite(score.restored) && Number.isFinite(score.degraded);
  return better && both ? better * (score.restored - score.degraded) : null;
}

/** A gain with its sign. */
export function gainShown(score) {
  const gain = gainOf(score);
  return gain == null ? "–" : (gain < 0 ? "−" : "+") + shown(Math.abs(gain), score);
}

/** "[29.16, 32.61]" */
export function intervalShown(score) {
  return score.interval ? `[${score.interval.map((end) => shown(end, score)).join(", ")}]` : "none: a single patient";
}

/**
 * What scores are about.
 * @param {Object[]} scores
 * @returns {{metrics: string[], contracts: Object[], degradations: string[]}} each in the order in which it comes.
 */
export function choices(scores) {
  const contracts = new Map(scores.map((score) => [JSON.stringify(score.contract), score.contract]));
  return {
    metrics: [...new Set(scores.map((score) => score.metric))],
    contracts: [...contracts.values()],
    degradations: [...new Set(scores.map((score) => score.degradation))],
  };
}

/** Those of one metric and one contract. */
export function chosen(scores, metric, contract) {
  return scores.filter((score) => score.metric === metric && JSON.stringify(score.contract) === JSON.stringify(contract));
}

/** All values that a plot of these has to hold. */
export const valuesOf = (scores) => scores.flatMap((score) => [score.degraded, score.restored, ...(score.interval ?? [])]);

/** What a plot shows, in words. */
export function plotWords(score) {
  const interval = score.interval ? `, interval ${intervalShown(score)}` : "";
  return `${metricTitle(score)}: degraded ${shown(score.degraded, score)}, restored ${shown(score.restored, score)}${interval}`;
}

const UNLIKE = "Not all rows were measured on the same degraded images: they cannot be compared directly.";
const ALIKE = "All rows were measured on the same number of patients and images, with the same degraded score;"
  + " bars that overlap prove neither a difference nor that there is none.";
const SINGLE = "A row without one was measured on a single patient, which says nothing about others.";

/**
 * What a reader has to know before two rows are compared.
 * @param {Object[]} scores of one metric, contract and degradation.
 * @returns {string[]} sentences.
 */
export function caveats(scores) {
  const said = [];
  const methods = [...new Set(scores.filter((score) => score.interval).map((score) => score.interval_method))];
  if (methods.length) said.push(`The interval is that of the restored score: ${methods.join("; or ")}.`);
  if (methods.length > 1) said.push("Not all rows have it by the same method.");
  if (scores.some((score) => !score.interval)) said.push(SINGLE);
  const measured = new Set(scores.map((score) => `${score.patients}/${score.images}/${score.degraded?.toFixed(6)}`));
  if (measured.size > 1) said.push(UNLIKE);
  else if (scores.length > 1) said.push(ALIKE);
  return said;
}
