/** Sentences of the page about versions and answers. Nothing here touches the page. */

import { show } from "./numbers.js";

const AGES = [
  ["year", 365.25 * 86_400],
  ["month", 30.4375 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** Return which version is in production and for how long. */
export function inProduction({ version, since }, now) {
  return `Version ${version}, in production for ${age(new Date(since), now)}`;
}

/** Return the time between two moments in its largest whole unit, e.g. "2 hours". */
function age(since, now) {
  const seconds = (now - since) / 1000;
  const [unit, length] = AGES.find(([, least]) => seconds >= least) ?? [];
  if (!unit) return "less than a minute";
  const style = { style: "unit", unit, unitDisplay: "long" };
  return Math.floor(seconds / length).toLocaleString("en", style);
}

/** Return the percentage of the requests that a part of the split answers. */
export function weightOf({ weight, share }) {
  return weight ?? share;
}

/** Return how the versions share the requests during a rollout, or nothing where there is none. */
export function rollout({ version, split = [], state = "" }) {
  const challenger = split.find((part) => part.version !== version);
  if (!challenger) return "";
  const paused = state === "paused" ? " (paused)" : "";
  return `Version ${challenger.version} is being rolled out: it answers ${parts(weightOf(challenger), version)}${paused}.`;
}

function parts(weight, version) {
  if (weight <= 0) return `none of the requests yet, version ${version} all of them`;
  if (weight >= 100) return `all of the requests, version ${version} none of them`;
  return `${show(weight)} % of the requests, version ${version} the other ${show(100 - weight)} %`;
}

/** Return the note at an answer that is of another request or of before, or nothing at any other. */
export function earlier({ summary, stale, before }) {
  if (stale) return `This answer is for the earlier request: ${summary}.`;
  return before ? "This answer is from before the service stopped answering." : "";
}
