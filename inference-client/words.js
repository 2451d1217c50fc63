/** Sentences that the page says. Nothing here touches the page. */

import { CONSUMPTION, consumption, show, weight } from "./units.js";

const AGES = [
  ["year", 365.25 * 86_400],
  ["month", 30.4375 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];
const NEIGHBOURS = 0.05;

/** Return the time between two moments in its largest whole unit, e.g. "2 hours". */
export function age(since, now) {
  const seconds = (now - since) / 1000;
  const [unit, length] = AGES.find(([, least]) => seconds >= least) ?? [];
  if (!unit) return "less than a minute";
  const style = { style: "unit", unit, unitDisplay: "long" };
  return Math.floor(seconds / length).toLocaleString("en", style);
}

/** Return which version is on the road and for how long. */
export function onTheRoad({ version, since }, now) {
  return `Version ${version}, on the road for ${age(new Date(since), now)}`;
}

/** Return how the versions share the requests during a rollout, or nothing where there is none. */
export function rollout({ version, split = [], state = "" }) {
  const trial = split.find((part) => part.version !== version);
  if (!trial) return "";
  const held = state === "paused" ? " (held there)" : "";
  return `Version ${trial.version} is being tried: it answers ${shared(trial.share, version)}${held}.`;
}

function shared(share, version) {
  if (share <= 0) return `none of the requests yet, version ${version} all of them`;
  if (share >= 100) return `all of the requests, version ${version} none of them`;
  return `${show(share)} % of the requests, version ${version} the other ${show(100 - share)} %`;
}

/** Return a name of the program, such as "support_vectors" or "usa", as people write it. */
export function plain(name) {
  return name === "usa" ? "USA" : name.replaceAll("_", " ");
}

/** Return a word with a capital first letter. */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return the 90 % interval of an answer in words. */
export function interval(answer, unit) {
  const [low, high] = [answer[`${unit}_low`], answer[`${unit}_high`]];
  return `90 % interval: ${show(low, 1)} to ${show(high, 1)} ${CONSUMPTION[unit].name}`;
}

/** Return what was asked, so that an answer is never read for another car. */
export function whose(car, weightUnit) {
  const known = {
    cylinders: (value) => `${value} cylinders`,
    displacement: (value) => `${value} cu in`,
    horsepower: (value) => `${value} hp`,
    acceleration: (value) => `${value} s to 60 mph`,
    origin: (value) => `made in ${value === "usa" ? "the USA" : capital(value)}`,
  };
  const given = Object.entries(known)
    .filter(([name]) => name in car)
    .map(([name, say]) => say(car[name]));
  return `${[`For a car of ${heavy(car.weight_kg, weightUnit)}, model year ${car.year}`, ...given].join(", ")}.`;
}

/** Return the note at an answer that is of another car or of before, or nothing at any other. */
export function earlier({ car, stale, before }, weightUnit) {
  if (!stale) return before ? "This answer is from before the service stopped answering." : "";
  return `This answer is of the earlier car: ${heavy(car.weight_kg, weightUnit)}, ${car.year}.`;
}

/** Return where an answer lies among the known cars. */
export function place({ weight_kg: weights, l_per_100km: litres }, car, answer, unit) {
  const thriftier = litres.filter((value) => value < answer.l_per_100km).length;
  const all = litres.length;
  const rank = `It needs more fuel than ${thriftier} of the ${all} known cars (${show((100 * thriftier) / all)} %).`;
  const near = litres
    .filter((_, index) => Math.abs(weights[index] / car.weight_kg - 1) <= NEIGHBOURS)
    .map((value) => consumption(value, unit))
    .sort((one, other) => one - other);
  if (near.length < 3) return rank;
  const [low, middle, high] = [near[0], median(near), near.at(-1)].map((value) => show(value, 1));
  return `${rank} The ${near.length} cars within 5 % of its weight lie between ${low} and ${high} ${CONSUMPTION[unit].name}, half of them above ${middle}.`;
}

/** Return what the scatter shows, for those who do not see it. */
export function scatterAsWords({ weight_kg: weights, l_per_100km: litres, year }, asked, units) {
  const name = CONSUMPTION[units.consumption].name;
  const values = litres.map((value) => consumption(value, units.consumption));
  const cars = `${litres.length} known cars, weight against consumption: ${heavy(Math.min(...weights), units.weight)} to ${heavy(Math.max(...weights), units.weight)}, ${show(Math.min(...values), 1)} to ${show(Math.max(...values), 1)} ${name}, coloured by model year, ${Math.min(...year)} to ${Math.max(...year)}.`;
  if (!asked) return cars;
  const { car, answer, stale } = asked;
  return `${cars} ${stale ? "The earlier" : "This"} car is marked at ${heavy(car.weight_kg, units.weight)} and ${show(answer[units.consumption], 1)} ${name}, with a whisker for its ${interval(answer, units.consumption)}.`;
}

/** Return a weight with its unit, to a tenth where that says more. */
export function heavy(kilograms, unit) {
  const tenths = Math.round(10 * weight(kilograms, "kg", unit)) / 10;
  return `${show(tenths, Number.isInteger(tenths) ? 0 : 1)} ${unit}`;
}

function median(sorted) {
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
}
