/**
 * From the JSON schemas of a card to fields, and values in words. Nothing here touches the page.
 *
 * A field is `{name, label, kind, required, description, unit, units, plain, minimum, maximum,
 * choices, items, shortest, longest, date, image}`. Its kind is "number", "integer", "boolean", "choice",
 * "text", "list" or "image". `units` are other units: a value in one times its factor is in `unit`.
 * `plain` is true for a whole number whose unit only repeats its name, as a year's does.
 */

import { decimals, rounded, show } from "./numbers.js";

const LIST_SHOWN = 6;
const NUMERIC = new Set(["number", "integer"]);

/** Return the fields of a request, the required ones first. */
export function fieldsOf(schema) {
  return entriesOf(schema);
}

/**
 * Return the fields of an answer. A number `y` that has `y_low` and `y_high` beside it has these as
 * `low` and `high`, and they are no fields of their own.
 */
export function answersOf(schema) {
  const fields = entriesOf(schema);
  const named = new Map(fields.map((of) => [of.name, of]));
  const withEnds = fields.map((of) => {
    const [low, high] = [named.get(`${of.name}_low`), named.get(`${of.name}_high`)];
    return isNumber(of) && low && high ? { ...of, low, high } : of;
  });
  const ends = new Set(withEnds.flatMap(({ low, high }) => (low ? [low.name, high.name] : [])));
  return withEnds.filter(({ name }) => !ends.has(name));
}

/** Return the requests to start from: the model's own, or the one of its schema. */
export function examplesOf({ page, request }) {
  const examples = page?.examples?.length ? page.examples : [request.example];
  return examples.filter((of) => typeof of === "object" && of !== null);
}

export function isNumber({ kind }) {
  return NUMERIC.has(kind);
}

/** Return whether every field fits into a cell of a table. */
export function isFlat(fields) {
  return fields.every(({ kind }) => kind !== "list" && kind !== "image");
}

/** Return whether a value of an answer is one that its field can have. */
export function fits({ kind, items }, value) {
  if (kind === "boolean") return typeof value === "boolean";
  if (kind === "list") return Array.isArray(value) && value.every((of) => !items || fits(items, of));
  // A number that is not finite is null in JSON.
  if (NUMERIC.has(kind)) return value === null || Number.isFinite(value);
  return typeof value === "string" || Number.isFinite(value);
}

/** Return a value in words, with its unit; `unit` is that of the field or one of its others. */
export function say(field, value, unit = field.unit) {
  if (value === null || value === undefined) return "no value";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return sayList(field, value);
  if (field.kind === "image") return "an image";
  if (typeof value !== "number") return spoken(String(value));
  if (field.plain) return String(value);
  return withUnit(rounded(value / factorOf(field, unit)), unit);
}

/** Return the two ends of an interval in words, as exact as its width tells. */
export function sayInterval({ low, high }, answer) {
  const [from, to] = [answer[low.name], answer[high.name]];
  const places = decimals(to - from, 2);
  return [from, to].map((end) => show(end, places));
}

/** Return what the interval of a number is called. */
export function intervalName({ low }) {
  return /\d+(\.\d+)? ?% [a-z ]*interval/.exec(low.description)?.[0] ?? "Interval";
}

/** Return the number of an answer in words, without its unit. */
export function sayNumber(field, answer) {
  const value = answer[field.name];
  if (value === null) return "no value";
  if (field.plain) return String(value);
  if (!field.low || !(answer[field.high.name] > answer[field.low.name])) return rounded(value);
  return show(value, decimals(answer[field.high.name] - answer[field.low.name], 2));
}

/** Return a request in one line; `unitOf(field)` is the unit in which to say a number. */
export function summary(fields, request, unitOf = (field) => field.unit) {
  const said = fields.filter(({ name }) => name in request);
  return said.map((of) => `${of.label}: ${say(of, request[of.name], unitOf(of))}`).join("; ");
}

/** Return the bounds of a number in words, or nothing; those in another unit lie within them. */
export function limits(field, unit = field.unit) {
  const { minimum, maximum, above, below } = field;
  const factor = factorOf(field, unit);
  const end = (value, round) => {
    if (field.plain) return String(value);
    if (factor === 1) return show(value, Math.min(8, String(value).split(".")[1]?.length ?? 0));
    const places = decimals(Math.abs(maximum ?? value) / factor, 4);
    return show(round((value / factor) * 10 ** places) / 10 ** places, places);
  };
  if (minimum !== undefined && maximum !== undefined) {
    return `${end(minimum, Math.ceil)} to ${end(maximum, Math.floor)}`;
  }
  const ends = [
    ["at least", minimum, Math.ceil],
    ["more than", above, Math.ceil],
    ["at most", maximum, Math.floor],
    ["less than", below, Math.floor],
  ];
  const known = ends.filter(([, value]) => value !== undefined);
  return known.map(([words, value, round]) => `${words} ${end(value, round)}`).join(" and ");
}

/** Return how many entries a list may have, in words, or nothing. */
export function lengths({ shortest, longest }) {
  if (shortest === longest) return shortest === undefined ? "" : show(shortest);
  if (longest === undefined) return `at least ${show(shortest)}`;
  return shortest ? `${show(shortest)} to ${show(longest)}` : `at most ${show(longest)}`;
}

/** Return a number's unit and its factor. */
export function factorOf({ units }, unit) {
  return units.find((of) => of.unit === unit)?.factor ?? 1;
}

export function withUnit(text, unit) {
  return unit ? `${text} ${unit}` : text;
}

/** Return a name of a program, such as "support_vectors", as people write it. */
export function spoken(name) {
  return name.replaceAll("_", " ");
}

/** Return a word with a capital first letter. */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return a title in letters and digits only, for comparison. */
export function bare(text) {
  return text
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

function entriesOf(schema) {
  const { properties, required = [], $defs = {} } = schema;
  // A bundle's properties are sorted by name; only the list of the required keeps the model's order.
  const names = new Set([...required.filter((name) => name in properties), ...Object.keys(properties)]);
  return [...names].map((name) =>
    fieldOf(name, resolved(properties[name], $defs), required.includes(name), $defs),
  );
}

function fieldOf(name, property, required, definitions) {
  const unit = property.unit ?? "";
  const description = (property.description ?? "").replace(/\.$/, "");
  const kind = kindOf(property);
  const plain = kind === "integer" && unit === name;
  const items = property.items && fieldOf(name, resolved(property.items, definitions), true, definitions);
  return {
    name,
    label: labelOf(name, property, unit, description),
    kind,
    required,
    description,
    unit: plain ? "" : unit,
    units: property.units ?? [],
    plain,
    minimum: property.minimum,
    maximum: property.maximum,
    above: property.exclusiveMinimum,
    below: property.exclusiveMaximum,
    choices: property.enum ?? (property.const === undefined ? undefined : [property.const]),
    items,
    shortest: property.minItems,
    longest: property.maxItems,
    date: property.format === "date",
    image: property.image,
  };
}

function resolved(property, definitions) {
  const [either] = (property.anyOf ?? []).filter(({ type }) => type !== "null");
  const found = definitions[property.$ref?.replace("#/$defs/", "")];
  return { ...found, ...(either && resolved(either, definitions)), ...property };
}

function kindOf({ type, enum: choices, const: only, image, contentEncoding }) {
  if (choices || only !== undefined) return "choice";
  if (image || contentEncoding === "base64") return "image";
  return { number: "number", integer: "integer", boolean: "boolean", array: "list" }[type] ?? "text";
}

/** Return a title that the model chose; else the name without its unit; else the description. */
function labelOf(name, { title = "" }, unit, description) {
  const words = bare(name);
  if (title && bare(title) !== words) return title;
  const measured = bare(unit.replaceAll("/", " per "));
  if (measured && words.replaceAll(" ", "") === measured.replaceAll(" ", "")) {
    return description && description.length <= 60 ? description : unit;
  }
  const ownUnit = measured !== "" && words !== measured && words.endsWith(` ${measured}`);
  return capital(ownUnit ? words.slice(0, -measured.length - 1) : words);
}

function sayList(field, values) {
  const count = `${show(values.length)} ${values.length === 1 ? "value" : "values"}`;
  if (values.length > LIST_SHOWN) return count;
  return values.map((of) => say(field.items ?? field, of, "")).join(", ") || "no values";
}
