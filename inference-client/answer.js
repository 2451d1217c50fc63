/** An answer on the page: one block for each of its fields, whatever kind it is of. */

import { element } from "./dom.js";
import { show } from "./numbers.js";
import { intervalName, isNumber, say, sayInterval, sayNumber, withUnit } from "./schema.js";

const LONGEST_SHOWN = 500; // values of a list

/** Return the blocks of an answer, the first of them in large letters. */
export function drawAnswer(fields, answer) {
  return fields.map((field) =>
    element(
      "div",
      { class: "output", "data-output": field.name, "data-kind": field.kind },
      element("h3", {}, field.label),
      ...(field.kind === "list" ? listed(field, answer[field.name]) : single(field, answer)),
      ...(field.description && field.description !== field.label ? [element("p", { class: "hint" }, `${field.description}.`)] : []),
    ),
  );
}

function single(field, answer) {
  const value = answer[field.name];
  const text = isNumber(field) ? sayNumber(field, answer) : say(field, value);
  const shown = element("p", { class: "number" }, element("data", { value: String(value) }, text));
  if (isNumber(field) && field.unit && value !== null) {
    shown.append(" ", element("span", { class: "unit" }, field.unit));
  }
  if (!field.low || [field.low, field.high].some(({ name }) => answer[name] === null)) return [shown];
  const [low, high] = sayInterval(field, answer);
  const interval = `${intervalName(field)}: ${withUnit(`${low} to ${high}`, field.unit)}`;
  return [shown, element("p", { class: "interval" }, interval)];
}

function listed(field, values) {
  const marked = values.flatMap((value, index) => (value === true ? [index + 1] : []));
  const flags = field.items?.kind === "boolean";
  const words = flags
    ? `${show(marked.length)} of ${show(values.length)} are true${marked.length ? `: number ${joined(marked)}` : ""}`
    : joined(values.map((value) => say(field.items ?? field, value, "")));
  const count = `${show(values.length)} ${values.length === 1 ? "value" : "values"}`;
  return [
    element("p", { class: "values", tabindex: 0, role: "group", "aria-label": field.label }, words || "none"),
    ...(flags ? [] : [element("p", { class: "hint" }, withUnit(count, field.unit && `in ${field.unit}`))]),
  ];
}

function joined(parts) {
  const rest = parts.length - LONGEST_SHOWN;
  return `${parts.slice(0, LONGEST_SHOWN).join(", ")}${rest > 0 ? ` and ${show(rest)} more` : ""}`;
}
