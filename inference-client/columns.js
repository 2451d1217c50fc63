/** From the columns of a file to the fields of a request. Nothing here touches the page. */

import { KILOGRAMS_PER_POUND, parse, show } from "./units.js";

const CUBIC_INCHES_PER_LITRE = 1000 / 16.387064;
const HORSEPOWER_PER_KILOWATT = 1 / 0.74569987158227022;
const LONGEST_WORD = 100;
const NOTHING = new Set(["", "?", "na", "n/a", "nan", "null", "none", "-"]);

/** What people call a field, and by what a number in their unit is multiplied. */
const KNOWN = {
  weight_kg: {
    names: ["weight", "mass", "kerb weight", "curb weight"],
    units: { kg: 1, kilograms: 1, lb: KILOGRAMS_PER_POUND, lbs: KILOGRAMS_PER_POUND, pounds: KILOGRAMS_PER_POUND, t: 1000 },
  },
  year: { names: ["year", "model year", "modelyear"], units: {} },
  cylinders: { names: ["cylinders", "cyl", "number of cylinders"], units: {} },
  displacement: {
    names: ["displacement", "engine displacement"],
    units: { "cu in": 1, "cubic inches": 1, cid: 1, l: CUBIC_INCHES_PER_LITRE, litres: CUBIC_INCHES_PER_LITRE, liters: CUBIC_INCHES_PER_LITRE, cc: CUBIC_INCHES_PER_LITRE / 1000, cm3: CUBIC_INCHES_PER_LITRE / 1000 },
  },
  horsepower: {
    names: ["horsepower", "power", "engine power", "hp"],
    units: { hp: 1, bhp: 1, kw: HORSEPOWER_PER_KILOWATT },
  },
  acceleration: {
    names: ["acceleration", "0 to 60 mph", "0 60 mph"],
    units: { s: 1, seconds: 1 },
  },
  origin: { names: ["origin", "made in", "country", "region"], units: {} },
};
const CHOICES = {
  usa: ["1", "us", "america", "american", "united states"],
  europe: ["2", "eu", "european"],
  japan: ["3", "jp", "japanese"],
};

/**
 * Return which column is which field: one entry for each column of the header, `null` where it is
 * none, else `{field, factor, unit}`: its numbers times the factor are the field's, and `unit` is
 * the column's own where that is another. The first column of a field counts.
 */
export function match(header, properties) {
  const taken = new Set();
  return header.map((title) => {
    const found = recognise(title, properties);
    if (!found || taken.has(found.field)) return null;
    taken.add(found.field);
    return found;
  });
}

function recognise(title, properties) {
  const words = plainWords(title);
  for (const field of Object.keys(properties)) {
    if (words === plainWords(field)) return { field, factor: 1, unit: "" };
  }
  for (const [field, { names, units }] of Object.entries(KNOWN)) {
    if (!(field in properties)) continue;
    for (const name of names) {
      if (words === name) return { field, factor: 1, unit: "" };
      const factor = words.startsWith(`${name} `) ? units[words.slice(name.length + 1)] : undefined;
      if (factor !== undefined) return { field, factor, unit: factor === 1 ? "" : words.slice(name.length + 1) };
    }
  }
  return null;
}

function plainWords(title) {
  return title
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

/** Return whether the numbers of a file have a comma where others have a point. */
export function hasDecimalCommas({ rows, separator }, columns) {
  if (separator === ",") return false;
  const cells = rows.flatMap((row) =>
    row.cells.filter((cell, index) => columns[index] && cell.includes(",")),
  );
  return cells.some((cell) => /^\s*[+-]?[\d.\s]*,\d+\s*$/.test(cell));
}

/** Return the request that a row makes; a cell that is no number is sent as it is, to be refused. */
export function requestOf(cells, columns, properties, decimalCommas) {
  const request = {};
  columns.forEach((column, index) => {
    const text = (cells[index] ?? "").trim();
    if (!column || NOTHING.has(text.toLowerCase())) return;
    const property = properties[column.field];
    request[column.field] = property.enum
      ? choice(text, property.enum)
      : figure(text, column, decimalCommas);
  });
  return request;
}

function choice(text, choices) {
  const word = plainWords(text);
  return (
    choices.find((of) => word === of || CHOICES[of]?.includes(word)) ?? text.slice(0, LONGEST_WORD)
  );
}

function figure(text, { field, factor }, decimalCommas) {
  const value = decimalCommas ? parse(pointed(text)) : parse(text);
  if (value === null) return text.slice(0, LONGEST_WORD);
  // The 70s are written in two digits in the data of that time.
  if (field === "year" && Number.isInteger(value) && value >= 0 && value < 100) return 1900 + value;
  return factor === 1 ? value : value * factor;
}

/** Return a number with a decimal comma as one with a point, and without what groups thousands. */
function pointed(text) {
  const bare = text.replace(/\s/g, "");
  return /^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$/.test(bare)
    ? bare.replaceAll(".", "").replace(",", ".")
    : bare.replace(",", ".");
}

/** Return what is wrong with a row, in the words and the unit of its file. */
export function reason({ field, problem, bound, unit }, columns, header, properties) {
  const index = columns.findIndex((column) => column?.field === field);
  const name = header[index] || field || "The row";
  const own = columns[index];
  const property = properties[field];
  if (own?.unit && Number.isFinite(property?.minimum) && Number.isFinite(property?.maximum)) {
    const low = show(Math.ceil((10 * property.minimum) / own.factor) / 10, 1);
    const high = show(Math.floor((10 * property.maximum) / own.factor) / 10, 1);
    return `${name} ${problem}: ${low} to ${high} ${own.unit}.`;
  }
  if (!bound) return `${name} ${problem}.`;
  const shown = !unit || unit === field || bound.startsWith("one of") ? bound : `${bound} ${unit}`;
  return `${name} ${problem}: ${shown}.`;
}
