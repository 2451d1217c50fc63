/** The drawings: the scatter of the known cars, the strip of the interval, the legend. */

import { CONSUMPTION, consumption, show, weight } from "./units.js";
import { scatterAsWords } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 26, right: 14, bottom: 46, left: 40 };
const SLACK = 0.04; // of an axis, beyond its outermost value

/**
 * Draw weight against consumption of the known cars, and the asked car with its interval.
 *
 * `asked` is `{car, answer, stale}` or undefined, `units` is `{weight, consumption}`, `width` is in
 * pixels: the drawing is made for it, so that its letters stay readable on a phone.
 */
export function scatter(points, asked, units, width) {
  const height = Math.round(Math.min(440, Math.max(300, width * 0.56)));
  const across = axis(
    [...points.weight_kg, ...(asked ? [asked.car.weight_kg] : [])].map((value) => weight(value, "kg", units.weight)),
    [MARGIN.left, width - MARGIN.right],
    56,
  );
  const up = axis(reach(points, asked, units.consumption), [height - MARGIN.bottom, MARGIN.top], 44);
  return node(
    "svg",
    {
      class: "scatter",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": scatterAsWords(points, asked, units),
    },
    ...grid(across, up, units, width, height),
    ...years(points, across, up, units),
    ...(asked ? [mark(asked, across, up, units, width)] : []),
  );
}

/** Draw the interval of an answer on a line, above a rug of the known cars. */
export function strip(points, asked, unit, width) {
  const height = 62;
  const across = axis(reach(points, asked, unit), [14, width - 14], 45);
  const { answer } = asked;
  const [low, middle, high] = [`${unit}_low`, unit, `${unit}_high`].map((name) => across.at(answer[name]));
  const rug = points.l_per_100km.map((value) => `M${across.at(consumption(value, unit)).toFixed(1)} 27v10`);
  return node(
    "svg",
    { class: "strip", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    node("path", { class: "rug", d: rug.join("") }),
    node("rect", { class: "band", x: low, y: 5, width: Math.max(high - low, 2), height: 14, rx: 7 }),
    node("circle", { class: "middle", cx: middle, cy: 12, r: 7.5 }),
    ...[[low, "end", `${unit}_low`], [high, "start", `${unit}_high`]].map(([x, anchor, name]) =>
      node("text", { class: "end", x: x + (anchor === "end" ? -6 : 6), y: 16.5, "text-anchor": anchor }, show(answer[name], 1)),
    ),
    node("line", { class: "axis", x1: across.from, x2: across.to, y1: 37.5, y2: 37.5 }),
    ...across.ticks.map((tick) =>
      node("text", { class: "tick", x: across.at(tick), y: 55, "text-anchor": "middle" }, show(tick)),
    ),
  );
}

/** Return the colours of the years as a row of swatches, the first and the last year named. */
export function legend(years) {
  const [first, last] = [Math.min(...years), Math.max(...years)];
  const swatches = range(first, last, 1).map((year) => {
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.setProperty("--age", share(year, first, last));
    return swatch;
  });
  return [`Model year ${first}`, ...swatches, String(last)];
}

function reach(points, asked, unit) {
  const known = points.l_per_100km.map((value) => consumption(value, unit));
  return asked ? [...known, asked.answer[`${unit}_low`], asked.answer[`${unit}_high`]] : known;
}

function axis(values, [from, to], spacing) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const slack = SLACK * (most - least);
  const [first, last] = [least - slack, most + slack];
  const step = niceStep((last - first) / Math.max(2, Math.abs(to - from) / spacing));
  return {
    from,
    to,
    ticks: range(Math.ceil(first / step) * step, Math.floor(last / step) * step, step),
    at: (value) => from + ((value - first) / (last - first)) * (to - from),
  };
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least);
}

function grid(across, up, units, width, height) {
  const bottom = height - MARGIN.bottom;
  return [
    ...up.ticks.flatMap((tick) => [
      node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: up.at(tick), y2: up.at(tick) }),
      node("text", { class: "tick", x: MARGIN.left - 8, y: up.at(tick) + 4, "text-anchor": "end" }, show(tick)),
    ]),
    ...across.ticks.flatMap((tick) => [
      node("line", { class: "axis", x1: across.at(tick), x2: across.at(tick), y1: bottom, y2: bottom + 5 }),
      node("text", { class: "tick", x: across.at(tick), y: bottom + 19, "text-anchor": "middle" }, show(tick)),
    ]),
    node("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
    node("text", { class: "name", x: 4, y: 14 }, `Consumption, ${CONSUMPTION[units.consumption].name}`),
    node("text", { class: "name", x: width - MARGIN.right, y: height - 6, "text-anchor": "end" }, `Weight, ${units.weight}`),
  ];
}

function years({ weight_kg: weights, l_per_100km: litres, year }, across, up, units) {
  const [first, last] = [Math.min(...year), Math.max(...year)];
  return range(first, last, 1).map((wanted) => {
    const group = node("g", { class: "year" });
    group.style.setProperty("--age", share(wanted, first, last));
    const members = year.flatMap((value, index) => (value === wanted ? [index] : []));
    const dots = members.map((index) => {
      const [kilograms, used] = [weight(weights[index], "kg", units.weight), consumption(litres[index], units.consumption)];
      const words = `${show(kilograms)} ${units.weight}, ${show(used, 1)} ${CONSUMPTION[units.consumption].name}, ${wanted}`;
      return node(
        "circle",
        { class: "point", cx: across.at(kilograms).toFixed(1), cy: up.at(used).toFixed(1), r: 3.4 },
        node("title", {}, words),
      );
    });
    group.append(...dots);
    return group;
  });
}

function mark({ car, answer, stale }, across, up, units, width) {
  const x = across.at(weight(car.weight_kg, "kg", units.weight));
  const [low, middle, high] = ["_low", "", "_high"].map((end) => up.at(answer[`${units.consumption}${end}`]));
  const whisker = `M${x} ${low}V${high}M${x - 8} ${low}h16M${x - 8} ${high}h16`;
  const toTheLeft = x > width - 110;
  return node(
    "g",
    { class: "asked", id: "asked-car" },
    node("path", { class: "halo", d: whisker }),
    node("path", { class: "whisker", d: whisker }),
    node("circle", { class: "middle", cx: x, cy: middle, r: 7.5 }),
    node(
      "text",
      { x: x + (toTheLeft ? -14 : 14), y: middle + 5, "text-anchor": toTheLeft ? "end" : "start" },
      stale ? "earlier car" : "this car",
    ),
  );
}

function share(value, first, last) {
  return last === first ? 1 : (value - first) / (last - first);
}

function range(first, last, step) {
  const count = Math.round((last - first) / step) + 1;
  return Array.from({ length: count }, (_, index) => first + index * step);
}

function node(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
