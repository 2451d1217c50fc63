/** The form: what was typed, in which unit, and what is wrong with it. */

import { capital, plain } from "./words.js";
import { parse, show, typed, weight, weightLimits } from "./units.js";

const WEIGHT = "weight_kg";

/** Take charge of the form element. `onWeightUnit(unit)` is called after a switch. */
export function takeForm(element, { onSubmit, onWeightUnit }) {
  const fields = new Map(
    [...element.querySelectorAll("[data-field]")].map((box) => [box.dataset.field, parts(box)]),
  );
  const heaviness = fields.get(WEIGHT).input;
  // What a person typed stays the truth: a switch only shows it in another unit. So switching to
  // and fro changes nothing, and what is sent was never rounded.
  let truth = { text: heaviness.value, unit: "kg" };
  let properties;

  function unit() {
    return element.elements["weight-unit"].value;
  }

  function showWeight() {
    const value = parse(truth.text);
    heaviness.value =
      value === null || unit() === truth.unit ? truth.text : typed(weight(value, truth.unit, unit()));
  }

  /** Return the request: numbers where numbers were typed, and nothing for an empty field. */
  function request() {
    const car = {};
    for (const [name, { input }] of fields) {
      const text = name === WEIGHT ? truth.text.trim() : input.value.trim();
      if (text === "") continue;
      const value = input.tagName === "SELECT" ? text : (parse(text) ?? text);
      car[name] = name === WEIGHT && typeof value === "number" ? weight(value, truth.unit, "kg") : value;
    }
    return car;
  }

  /** Show limits, units and choices as the model's request schema gives them. */
  function describe(schema) {
    properties = schema.properties;
    for (const [name, field] of fields) {
      const property = properties[name];
      field.box.hidden = !property;
      if (!property) continue;
      field.hint.textContent = hint(name, property, unit());
      if (property.enum && field.input.tagName === "SELECT") offer(field.input, property.enum);
    }
  }

  /** Show what is wrong, each at its field. Returns the details that belong to no field. */
  function complain(details) {
    const homeless = details.filter(({ field }) => !fields.has(field));
    for (const [name, { box, input, error }] of fields) {
      const own = details.filter(({ field }) => field === name);
      error.textContent = own.map((detail) => complaint(name, detail)).join(" ");
      error.hidden = own.length === 0;
      input.removeAttribute("aria-invalid");
      if (own.length === 0) continue;
      input.setAttribute("aria-invalid", "true");
      unfold(box);
    }
    return homeless;
  }

  function complaint(name, detail) {
    const inPounds = name === WEIGHT && unit() === "lb" && isLimited(properties?.[WEIGHT]);
    return sentence(name, inPounds ? { ...detail, ...poundBound(properties[WEIGHT]) } : detail);
  }

  /** Move the focus to the first field that is wrong. */
  function focusFirstBad() {
    element.querySelector("[aria-invalid]")?.focus();
  }

  /** Return everything typed, as a query string. */
  function state() {
    const values = new URLSearchParams();
    for (const [name, { input }] of fields) {
      const text = name === WEIGHT ? truth.text : input.value;
      if (text) values.set(name, text);
    }
    values.set("weight-unit", truth.unit);
    return values;
  }

  /** Put back what `state` gave. */
  function restore(values) {
    for (const [name, { input, box }] of fields) {
      const text = values.get(name);
      if (!text) continue;
      if (input.tagName === "SELECT") offer(input, [text]);
      input.value = text;
      unfold(box);
    }
    if (values.get("weight-unit") === "lb") element.elements["weight-unit"].value = "lb";
    truth = { text: heaviness.value, unit: unit() };
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  element.addEventListener("input", ({ target }) => {
    if (target === heaviness) truth = { text: heaviness.value, unit: unit() };
    const field = fields.get(target.name);
    if (!field) return;
    field.error.hidden = true;
    field.input.removeAttribute("aria-invalid");
  });
  element.addEventListener("change", ({ target }) => {
    if (target.name !== "weight-unit") return;
    showWeight();
    const { hint: words, error, input } = fields.get(WEIGHT);
    if (properties?.[WEIGHT]) words.textContent = hint(WEIGHT, properties[WEIGHT], unit());
    error.hidden = true;
    input.removeAttribute("aria-invalid");
    onWeightUnit(unit());
  });

  return { request, describe, complain, focusFirstBad, state, restore, weightUnit: unit };
}

function parts(box) {
  const input = box.querySelector("input:not([type=radio]), select");
  return {
    box,
    input,
    error: box.querySelector(".error"),
    hint: box.querySelector(".hint"),
  };
}

function unfold(box) {
  const folded = box.closest("details");
  if (folded) folded.open = true;
}

function hint(name, property, weightUnit) {
  const description = (property.description ?? "").replace(/\.$/, "");
  if (property.enum || !isLimited(property)) return `${description}.`;
  const { minimum, maximum } = name === WEIGHT ? weightLimits(property, weightUnit) : property;
  const unit = name === WEIGHT ? weightUnit : property.unit;
  // A unit that only repeats the field's name, such as the year's, says nothing.
  if (unit === name) return `${description}, ${minimum} to ${maximum}.`;
  return `${description}, ${show(minimum)} to ${show(maximum)} ${unit}.`;
}

function isLimited(property) {
  return [property?.minimum, property?.maximum].every(Number.isFinite);
}

function offer(select, choices) {
  const chosen = select.value;
  const empty = select.options[0];
  const options = choices.map((choice) => new Option(capital(plain(choice)), choice));
  select.replaceChildren(empty, ...options);
  if (choices.includes(chosen)) select.value = chosen;
}

// The service says "is out of range"; next to the field, whose name is there, "Out of range" does.
function sentence(name, { problem, bound, unit }) {
  const wrong = capital(problem.replace(/^is /, ""));
  if (!bound) return `${wrong}.`;
  const says = bound.startsWith("one of") || !unit || unit === name ? bound : `${grouped(bound)} ${unit}`;
  return `${wrong}: enter ${says}.`;
}

// The service writes 2400, the hint 2,400: on the page both are written as the hint is.
function grouped(bound) {
  return bound.replace(/(?<![\d.])\d{4,}/g, (digits) => show(Number(digits)));
}

function poundBound(property) {
  const { minimum, maximum } = weightLimits(property, "lb");
  return { bound: `${minimum} to ${maximum}`, unit: "lb" };
}
