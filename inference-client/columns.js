/** From the columns of a file to the fields of a request. Nothing here touches the page. */

import { flag } from "./form.js";
import { parse } from "./numbers.js";
import { bare, isNumber, limits, withUnit } from "./schema.js";

const LONGEST_WORD = 100;
const NOTHING = new Set(["", "?", "na", "n/a", "nan", "null", "none", "-"]);

/**
 * Return which column is which field: one entry for each column of the header, `null` where it is
 * none, else `{field, factor, unit}`: its numbers times the factor are the field's, and `unit` is
 * the column's own where that is another. The first column of a field counts.
 */
export function match(header, fields) {
  const taken = new Set();
  return header.map((title) => {
    const found = recognise(bare(title), fields);
    if (!found || taken.has(found.field)) return null;
    taken.add(found.field);
    return found;
  });
}

/** A column is called as a field or its label, or so with one of the field's units behind it. */
function recognise(words, fields) {
  for (const field of fields) {
    const names = new Set([bare(field.name), bare(field.label)]);
    const own = bare(field.unit);
    for (const name of [...names]) if (own && name.endsWith(` ${own}`)) names.add(name.slice(0, -own.length - 1));
    if (names.has(words)) return { field, factor: 1, unit: "" };
    for (const { unit, factor } of [{ unit: field.unit, factor: 1 }, ...field.units]) {
      const matches = [...names].some((name) => unit && words === `${name} ${bare(unit)}`);
      if (matches) return { field, factor, unit: factor === 1 ? "" : unit };
    }
  }
  return null;
}

/** Return whether the numbers of a file have a comma where others have a point. */
export function hasDecimalCommas({ rows, separator }, columns) {
  if (separator === ",") return false;
  const cells = rows.flatMap((row) =>
    row.cells.filter((cell, index) => columns[index] && cell.includes(",")),
  );
  return cells.some((cell) => /^\s*[+-]?[\d.\s]*,\d+\s*$/.test(cell));
}

/** Return the request that a row makes; a cell that does not fit is sent as it is, to be refused. */
export function requestOf(cells, columns, decimalCommas) {
  const request = {};
  columns.forEach((column, index) => {
    const text = (cells[index] ?? "").trim();
    if (!column || NOTHING.has(text.toLowerCase())) return;
    request[column.field.name] = valueOf(text, column, decimalCommas) ?? text.slice(0, LONGEST_WORD);
  });
  return request;
}

function valueOf(text, { field, factor }, decimalCommas) {
  if (field.kind === "boolean") return flag(text);
  if (field.choices) return field.choices.find((of) => bare(String(of)) === bare(text));
  if (!isNumber(field)) return text;
  const value = parse(decimalCommas ? pointed(text) : text);
  return value === null || factor === 1 ? value : value * factor;
}

/** Return a number with a decimal comma as one with a point, and without what groups thousands. */
function pointed(text) {
  const plain = text.replace(/\s/g, "");
  return /^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$/.test(plain)
    ? plain.replaceAll(".", "").replace(",", ".")
    : plain.replace(",", ".");
}

/** Return what is wrong with a row, in the words and the unit of its file. */
export function reason({ field: name, problem, bound = "", unit }, columns, header, fields) {
  const index = columns.findIndex((column) => column?.field.name === name);
  const field = fields.find((of) => of.name === name);
  const title = header[index] || name || "The row";
  const own = columns[index]?.unit;
  const inOwnUnit = own && limits(field, own);
  const says = inOwnUnit ? withUnit(inOwnUnit, own) : withUnit(bound, bound && field && isNumber(field) && !field.plain && unit);
  return says ? `${title} ${problem}: ${says}.` : `${title} ${problem}.`;
}
