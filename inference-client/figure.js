/** The figure of a model, the interval on a line, and the same in words. */

import { drawn, element } from "./dom.js";
import { decimals, rounded, show } from "./numbers.js";
import { factorOf, intervalName, isNumber, say, sayInterval, withUnit } from "./schema.js";

const MARGIN = { top: 26, right: 14, bottom: 46, left: 14 };
const SLACK = 0.04; // of an axis, beyond its outermost value
const NEIGHBOURS = 0.05;
const MOST_SHADES = 20;

/**
 * Return the figure of a card, or null: `{kind: "scatter", x, y, color, points, answered}` or
 * `{kind: "series", values, marks, score, bound, known}`, with the fields in place of their names;
 * `answered` says that `y` is a field of the answer, `known` has `{values, truth}` of each example.
 *
 * Bundles of before have only `points`: their first column of the request is drawn against that of
 * the answer, and coloured by the next one of the request.
 */
export function figureOf({ page, points }, fields, answers) {
  const field = (name) => [...fields, ...answers].find((of) => of.name === name);
  const figure = page?.figure ?? earlierFigure(points ?? {}, fields, answers);
  if (figure?.kind === "series") {
    const [values, marks] = [field(figure.values), field(figure.marks)];
    const [score, bound] = [field(figure.score), field(figure.bound)];
    const known = (figure.truth ?? []).map((truth, index) => ({ values: page.examples[index]?.[figure.values], truth }));
    return values && marks ? { kind: "series", values, marks, score, bound, known } : null;
  }
  if (figure?.kind !== "scatter") return null;
  const [x, y] = [field(figure.x), field(figure.y)];
  const color = field(figure.color) ?? (figure.color ? plainField(figure.color) : null);
  const columns = [x, y, ...(color ? [color] : [])].map((of) => figure.points?.[of?.name]);
  const length = columns[0]?.length;
  const whole = columns.every((of) => Array.isArray(of) && of.length === length);
  const drawable = whole && length > 0 && columns.slice(0, 2).every((of) => of.every(Number.isFinite));
  const answered = answers.some(({ name }) => name === y?.name);
  return drawable ? { kind: "scatter", x, y, color, points: figure.points, answered } : null;
}

function earlierFigure(points, fields, answers) {
  const of = (known) => Object.keys(points).filter((name) => known.some((one) => one.name === name && isNumber(one)));
  const [[x, color = ""], [y]] = [of(fields), of(answers)];
  return x && y ? { kind: "scatter", x, y, color, points } : null;
}

function plainField(name) {
  return { name, label: name.replaceAll("_", " "), unit: "", units: [], kind: "text" };
}

/**
 * Draw a figure: `{svg, words, entries}`, where an entry is `{x, y, text}`, a place in the drawing
 * and what is there.
 *
 * `asked` is `{request, answer, stale}` or undefined, `unitOf(field)` the unit in which to draw a
 * number, `width` is in pixels: the drawing is made for it, so that its text stays readable on a
 * phone. `factor` times the bound of the answer is that of a series.
 */
export function draw(figure, asked, unitOf, width, factor = 1) {
  return figure.kind === "series" ? series(figure, asked, width, factor) : scatter(figure, asked, unitOf, width);
}

function scatter(figure, asked, unitOf, width) {
  const { x, y, color, points } = figure;
  const height = heightOf(width);
  const mine = asked && place(figure, asked);
  const whisker = mine ? [mine.low, mine.high].filter(Number.isFinite) : [];
  const scale = (field, values) => values.map((value) => value / factorOf(field, unitOf(field)));
  const frame = axes(
    { field: x, unit: unitOf(x), values: scale(x, [...points[x.name], ...(mine ? [mine.x] : [])]) },
    { field: y, unit: unitOf(y), values: scale(y, [...points[y.name], ...whisker, ...(mine ? [mine.y] : [])]) },
    width,
    height,
  );
  const at = (of) => ({ x: frame.across.at(scale(x, [of.x])[0]), y: frame.up.at(scale(y, [of.y])[0]) });
  const shade = shades(color && points[color.name]);
  const entries = points[x.name].map((value, index) => {
    const parts = [x, y, ...(color ? [color] : [])].map(
      (of) => `${of.label}: ${say(of, points[of.name][index], unitOf(of))}`,
    );
    return { ...at({ x: value, y: points[y.name][index] }), text: parts.join("; "), index, value };
  });
  const groups = shade.steps.map((step) => {
    const group = drawn("g", { class: "points" });
    group.style.setProperty("--step", step);
    group.append(
      ...entries
        .filter(({ index }) => shade.of(index) === step)
        .map((of) => drawn("circle", { class: "point", cx: of.x.toFixed(1), cy: of.y.toFixed(1), r: 3.4 })),
    );
    return group;
  });
  const words = scatterInWords(figure, asked, mine, unitOf);
  const svg = picture("scatter", width, height, words, ...frame.nodes, ...groups);
  if (mine) svg.append(mark(at(mine), whisker.map((value) => at({ x: mine.x, y: value }).y), asked, width));
  return { svg, words, entries: entries.sort((one, other) => one.value - other.value) };
}

/** Return where a request and its answer stand in a scatter, or nothing where they do not. */
function place({ x, y }, { request, answer }) {
  const all = { ...request, ...answer };
  const found = { x: all[x.name], y: all[y.name], low: all[y.low?.name], high: all[y.high?.name] };
  return Number.isFinite(found.x) && Number.isFinite(found.y) ? found : undefined;
}

function mark({ x, y }, whisker, { stale }, width) {
  const toTheLeft = x > width - 130;
  const [low, high] = whisker;
  const path = whisker.length ? `M${x} ${low}V${high}M${x - 8} ${low}h16M${x - 8} ${high}h16` : "";
  return drawn(
    "g",
    { class: "asked", id: "asked" },
    drawn("path", { class: "halo", d: path }),
    drawn("path", { class: "whisker", d: path }),
    drawn("circle", { class: "middle", cx: x, cy: y, r: 7.5 }),
    drawn(
      "text",
      { x: x + (toTheLeft ? -14 : 14), y: y + 5, "text-anchor": toTheLeft ? "end" : "start" },
      stale ? "earlier request" : "this request",
    ),
  );
}

function series(figure, asked, width, factor) {
  const { values, marks, known } = figure;
  if (!asked?.request[values.name]?.length) return null;
  const height = heightOf(width);
  const numbers = asked.request[values.name];
  const flags = flagged(figure, asked.answer, factor);
  const position = { label: "Position", unit: "", units: [], plain: true };
  const unit = values.unit || values.items?.unit || "";
  const frame = axes(
    { field: position, unit: "", values: [1, numbers.length] },
    { field: values, unit, values: numbers },
    width,
    height,
  );
  const entries = numbers.map((value, index) => {
    const text = `Position ${show(index + 1)}: ${withUnit(say({ ...values, kind: "number" }, value, ""), unit)}`;
    const marked = Boolean(flags?.[index]);
    return { x: frame.across.at(index + 1), y: frame.up.at(value), text: marked ? `${text}, marked` : text, marked };
  });
  const marked = entries.filter((of) => of.marked);
  const line = entries.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const reason = factor === 1 ? `are marked by “${marks.label}”` : `exceed ${rounded(factor, 2)} times the bound`;
  const count = `${show(marked.length)} of ${show(numbers.length)} values ${reason}`;
  const listed = marked.slice(0, 10).map(({ text }) => text.replace(", marked", "")).join("; ");
  const truth = known?.find((of) => String(of.values) === String(numbers))?.truth;
  const found = truth ? ` ${foundInWords(truth, flags)}` : "";
  const words = `${count}${listed ? `: ${listed}${marked.length > 10 ? "; and more" : ""}` : ""}.${found}`;
  const svg = picture(
    "series",
    width,
    height,
    `${values.label}, ${words}`,
    ...frame.nodes,
    drawn("path", { class: "line", d: line }),
    ...marked.map(({ x, y }) => drawn("circle", { class: "marked", cx: x.toFixed(1), cy: y.toFixed(1), r: 5 })),
  );
  svg.id = "asked";
  return { svg, words, entries };
}

/** Return which values are marked: by the answer, or by its scores where the bound is moved. */
function flagged({ marks, score, bound }, answer, factor) {
  if (!score || !bound || factor === 1) return answer[marks.name];
  return answer[score.name].map((value, index) => value > factor * answer[bound.name][index]);
}

/** Say how many events are found and how late, and how many alarms touch none. */
function foundInWords(truth, flags) {
  const events = runs(truth);
  const delays = events.map(([start, stop]) => flags.slice(start, stop).findIndex(Boolean)).filter((at) => at >= 0);
  const late = delays.length ? delays.reduce((sum, one) => sum + one, 0) / delays.length : 0;
  const mistaken = runs(flags).filter(([start, stop]) => !truth.slice(start, stop).some(Boolean)).length;
  const delay = delays.length ? `, after ${rounded(late, 1)} values on average` : "";
  return `${delays.length} of ${events.length} labelled events are found${delay}; false alarms: ${mistaken}.`;
}

/** Return the first position of each run of true values, and the one after its last. */
function runs(flags) {
  const found = [];
  flags.forEach((flag, index) => {
    if (flag && found.at(-1)?.[1] === index) found.at(-1)[1] = index + 1;
    else if (flag) found.push([index, index + 1]);
  });
  return found;
}

/** Draw the interval of a number on a line, above ticks of its known values. */
export function strip(field, known, answer, width) {
  const height = 62;
  const [low, middle, high] = [field.low.name, field.name, field.high.name].map((name) => answer[name]);
  const across = axis([...known, low, high], [14, width - 14], 45);
  const [start, dot, end] = [low, middle, high].map(across.at);
  const [from, to] = sayInterval(field, answer);
  return picture(
    "strip",
    width,
    height,
    "",
    drawn("path", { class: "rug", d: known.map((value) => `M${across.at(value).toFixed(1)} 27v10`).join("") }),
    drawn("rect", { class: "band", x: start, y: 5, width: Math.max(end - start, 2), height: 14, rx: 7 }),
    drawn("circle", { class: "middle", cx: dot, cy: 12, r: 7.5 }),
    drawn("text", { class: "end", x: start - 6, y: 16.5, "text-anchor": "end" }, from),
    drawn("text", { class: "end", x: end + 6, y: 16.5, "text-anchor": "start" }, to),
    drawn("line", { class: "axis", x1: across.from, x2: across.to, y1: 37.5, y2: 37.5 }),
    ...across.ticks.map((tick) =>
      drawn("text", { class: "tick", x: across.at(tick), y: 55, "text-anchor": "middle" }, show(tick, across.places)),
    ),
  );
}

/** Return what the colours of a scatter mean. */
export function legend({ color, points }) {
  if (!color) return [];
  const shade = shades(points[color.name]);
  const swatch = (step) => {
    const made = element("span", { class: shade.names ? "swatch named" : "swatch" });
    made.style.setProperty("--step", step);
    return made;
  };
  if (shade.names) return shade.steps.flatMap((step, index) => [swatch(step), shade.names[index]]);
  return [`${color.label} ${say(color, shade.first)}`, ...shade.steps.map(swatch), say(color, shade.last)];
}

/** Return where an answer lies among the known examples, or what the points are. */
export function caption(figure, asked, unitOf) {
  const { x, y, color, points, answered } = figure;
  const mine = asked && answered && place(figure, asked);
  const all = points[y.name].length;
  if (!mine) return `Each of the ${show(all)} points is a known example${color ? `, its colour shows: ${color.label}` : ""}.`;
  const lower = points[y.name].filter((value) => value < mine.y).length;
  const rank = `The prediction is higher than ${show(lower)} of the ${show(all)} known examples (${show((100 * lower) / all)} %).`;
  const near = points[y.name]
    .filter((_, index) => Math.abs(points[x.name][index] / mine.x - 1) <= NEIGHBOURS)
    .sort((one, other) => one - other);
  if (near.length < 3) return rank;
  const half = near.length / 2;
  const middle = (near[Math.ceil(half) - 1] + near[Math.floor(half)]) / 2;
  const unit = unitOf(y);
  const [low, median, high] = [near[0], middle, near.at(-1)].map((value) => rounded(value / factorOf(y, unit), 3));
  return `${rank} The ${show(near.length)} that differ by at most 5 % in “${x.label}” lie between ${low} and ${withUnit(high, unit)}, half of them above ${median}.`;
}

function scatterInWords({ x, y, color, points }, asked, mine, unitOf) {
  const range = (of) => {
    const values = points[of.name];
    if (!Number.isFinite(values[0])) return of.label;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return `${of.label} from ${say(of, low, unitOf(of))} to ${say(of, high, unitOf(of))}`;
  };
  const known = `${show(points[x.name].length)} known examples: ${range(x)}, ${range(y)}${color ? `, coloured by ${range(color)}` : ""}.`;
  if (!mine) return known;
  const whisker = Number.isFinite(mine.low) ? `, ${intervalName(y)} ${sayInterval(y, asked.answer).join(" to ")}` : "";
  return `${known} ${asked.stale ? "The earlier" : "This"} request is marked at ${say(x, mine.x, unitOf(x))} and ${say(y, mine.y, unitOf(y))}${whisker}.`;
}

/** Return the steps, from 0 to 1, in which a column is coloured: `of(index)` is that of a row. */
function shades(values) {
  if (!values) return { steps: [1], of: () => 1 };
  const distinct = [...new Set(values)];
  if (!distinct.every(Number.isFinite)) {
    const names = distinct.map(String).sort();
    const step = (index) => (names.length > 1 ? index / (names.length - 1) : 1);
    return { names, steps: names.map((_, index) => step(index)), of: (row) => step(names.indexOf(String(values[row]))) };
  }
  const [first, last] = [Math.min(...distinct), Math.max(...distinct)];
  const whole = distinct.every(Number.isInteger) && last - first < MOST_SHADES;
  const count = whole ? last - first : 12;
  const step = (value) => (last > first ? Math.round(((value - first) / (last - first)) * count) / count : 1);
  const steps = last > first ? Array.from({ length: count + 1 }, (_, index) => index / count) : [1];
  return { first, last, steps, of: (row) => step(values[row]) };
}

function heightOf(width) {
  return Math.round(Math.min(440, Math.max(300, width * 0.56)));
}

function axes(x, y, width, height) {
  const bottom = height - MARGIN.bottom;
  const up = axis(y.values, [bottom, MARGIN.top], 44);
  const text = (of, value) => (of.field.plain ? String(value) : show(value, (of === x ? across : up).places));
  const left = MARGIN.left + 7.5 * Math.max(...up.ticks.map((tick) => text(y, tick).length)) + 8;
  const across = axis(x.values, [left, width - MARGIN.right], 56);
  const name = ({ field, unit }) => withUnit(field.label, unit && `(${unit})`);
  const nodes = [
    ...up.ticks.flatMap((tick) => [
      drawn("line", { class: "grid", x1: left, x2: width - MARGIN.right, y1: up.at(tick), y2: up.at(tick) }),
      drawn("text", { class: "tick", x: left - 8, y: up.at(tick) + 4, "text-anchor": "end" }, text(y, tick)),
    ]),
    ...across.ticks.flatMap((tick) => [
      drawn("line", { class: "axis", x1: across.at(tick), x2: across.at(tick), y1: bottom, y2: bottom + 5 }),
      drawn("text", { class: "tick", x: across.at(tick), y: bottom + 19, "text-anchor": "middle" }, text(x, tick)),
    ]),
    drawn("line", { class: "axis", x1: left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
    drawn("text", { class: "name", x: 4, y: 14 }, name(y)),
    drawn("text", { class: "name", x: width - MARGIN.right, y: height - 6, "text-anchor": "end" }, name(x)),
  ];
  return { across, up, nodes };
}

function axis(values, [from, to], spacing) {
  const [least, most] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const slack = SLACK * (most - least) || Math.abs(most) / 2 || 1;
  const [first, last] = [least - slack, most + slack];
  const step = niceStep((last - first) / Math.max(2, Math.abs(to - from) / spacing));
  const begin = Math.ceil(first / step);
  const count = Math.floor(last / step) - begin + 1;
  return {
    from,
    to,
    places: decimals(step, 1),
    ticks: Array.from({ length: count }, (_, index) => (begin + index) * step),
    at: (value) => from + ((value - first) / (last - first)) * (to - from),
  };
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9));
}

function picture(kind, width, height, words, ...children) {
  const named = words ? { role: "img", "aria-label": words } : { "aria-hidden": "true" };
  return drawn("svg", { class: kind, viewBox: `0 0 ${width} ${height}`, width, height, ...named }, ...children);
}
