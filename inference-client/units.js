/**
 * Exact conversions, and numbers as people write them.
 *
 * The pound and the mile are exact by the international agreement of 1959; the US gallon is 231
 * cubic inches.
 */

export const KILOGRAMS_PER_POUND = 0.45359237;
export const LITRES_PER_GALLON = 3.785411784;
export const KILOMETRES_PER_MILE = 1.609344;
export const L_PER_100KM_TIMES_MPG = (100 * LITRES_PER_GALLON) / KILOMETRES_PER_MILE;

const KILOGRAMS = { kg: 1, lb: KILOGRAMS_PER_POUND };

/** The units of consumption: the name to show, and what a reader may have to know of it. */
export const CONSUMPTION = {
  l_per_100km: { name: "l/100 km", note: "" },
  mpg: { name: "mpg", note: "In miles per US gallon." },
};

/** Return a weight of one unit ("kg" or "lb") in another. */
export function weight(value, from, to) {
  return from === to ? value : (value * KILOGRAMS[from]) / KILOGRAMS[to];
}

/** Return litres per 100 km in a unit of consumption. The same function goes back from mpg. */
export function consumption(litres, unit) {
  return unit === "mpg" ? L_PER_100KM_TIMES_MPG / litres : litres;
}

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
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : null;
}

/** Return a number for an input field: no grouping, at most two decimals. */
export function typed(value) {
  return String(Number(value.toFixed(2)));
}

/** Return a number for a sentence or an axis: grouped, with a fixed number of decimals. */
export function show(value, decimals = 0) {
  return value.toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/**
 * Return the limits of a weight in another unit, as whole numbers that are within them.
 *
 * Rounding inward keeps the promise of a hint: whoever types the limit shown is not refused.
 */
export function weightLimits({ minimum, maximum }, unit) {
  if (unit === "kg") return { minimum, maximum };
  return {
    minimum: Math.ceil(weight(minimum, "kg", unit)),
    maximum: Math.floor(weight(maximum, "kg", unit)),
  };
}
