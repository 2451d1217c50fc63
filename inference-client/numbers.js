/** Numbers as people write and read them. */

const SMALL = 1e-4;
const GREAT = 1e9;

/**
 * Return what a person typed as a number, or null when it is none.
 *
 * A comma is taken for a decimal point, unless groups of three digits show that it separates
 * thousands: "1,200" is 1200, "12,5" is 12.5.
 */
export function parse(text) {
  const bare = text.replace(/\s/g, "");
  const plain = /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(bare)
    ? bare.replaceAll(",", "")
    : bare.replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : null;
}

/**
 * Return the numbers and other words of a text: a pasted column, or a line with separators.
 *
 * Commas separate, except where every entry of several has exactly one: then they are decimal.
 */
export function parseList(text) {
  const entries = text.split(/[\s;]+/).filter(Boolean);
  const decimal = entries.length > 1 && entries.every((entry) => /^[+-]?\d*,\d+$/.test(entry));
  const words = decimal ? entries : entries.flatMap((entry) => entry.split(",")).filter(Boolean);
  return words.map((word) => parse(word) ?? word);
}

/** Return a number for an input field: no grouping, six significant digits. */
export function typed(value) {
  return String(Number(value.toPrecision(6)));
}

/** Return a number for a sentence or an axis: grouped, with a fixed number of decimals. */
export function show(value, decimals = 0) {
  return value.toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/** Return a number with at most so many significant digits, but never fewer whole digits. */
export function rounded(value, digits = 4) {
  const size = Math.abs(value);
  if (size !== 0 && (size < SMALL || size >= GREAT)) {
    return value.toLocaleString("en", { notation: "scientific", maximumSignificantDigits: digits });
  }
  return value.toLocaleString("en", { maximumFractionDigits: decimals(size, digits) });
}

/** Return a size in bytes in words. */
export function showBytes(size) {
  return size < 1e6 ? `${rounded(size / 1e3, 2)} kB` : `${rounded(size / 1e6, 2)} MB`;
}

/** Return the decimals that give a number of some size so many significant digits, 0 to 8. */
export function decimals(size, digits) {
  const whole = size > 0 ? Math.floor(Math.log10(size)) + 1 : 1;
  return Math.min(8, Math.max(0, digits - whole));
}
