/** The form of a request: one control for each field, what was entered, and what is wrong with it. */

import { element, tell } from "./dom.js";
import { takeImage } from "./image.js";
import { parse, parseList, show, showBytes, typed } from "./numbers.js";
import { capital, factorOf, isNumber, lengths, limits, spoken, withUnit } from "./schema.js";

const LONGEST_KEPT = 2_000; // characters of a list in the address
const MOST_TOLD = 3; // problems of one field

/**
 * Return the controls of a request's fields. `onUnit()` is called when a unit was switched.
 *
 * Returns `nodes` to put into a form, and what the page does with them: `request()`, `fill(example)`,
 * `complain(details)`, `focusFirstBad()`, `state()` and `restore(values)` for the address,
 * `unitOf(field)`, and `drop(file)`, which returns whether there was a place for an image.
 */
export function makeForm(fields, { onUnit }) {
  const controls = fields.map((field) => makeControl(field, onUnit));
  const named = new Map(controls.map((of) => [of.field.name, of]));
  const folded = controls.filter(({ field }) => !field.required);
  const open = controls.filter(({ field }) => field.required);

  function complain(details) {
    for (const control of controls) {
      const own = details.filter(({ field }) => field === control.field.name);
      const told = own.slice(0, MOST_TOLD).map((detail) => complaint(control, detail));
      if (own.length > MOST_TOLD) told.push(`Problems in all: ${show(own.length)}.`);
      control.complain(told.join(" "));
    }
    return details.filter(({ field }) => !named.has(field));
  }

  return {
    nodes: arranged(open, folded),
    complain,
    request: () =>
      Object.fromEntries(
        controls
          .map(({ field, value }) => [field.name, value()])
          .filter(([, value]) => value !== undefined),
      ),
    fill: (example) => {
      complain([]);
      for (const { field, fill, unfold } of controls) {
        fill(example[field.name]);
        if (field.name in example) unfold();
      }
    },
    focusFirstBad: () => controls.find(({ isWrong }) => isWrong())?.focus(),
    state: () => new URLSearchParams(controls.flatMap(({ state }) => state())),
    restore: (values) => {
      for (const { restore } of controls) restore(values);
    },
    unitOf: ({ name, unit }) => named.get(name)?.unit() ?? unit,
    drop: (file) => {
      const place = controls.find((of) => of.drop);
      place?.drop(file);
      return Boolean(place);
    },
  };
}

function arranged(open, folded) {
  const boxes = (of) => of.map(({ box }) => box);
  if (!open.length || !folded.length) return boxes([...open, ...folded]);
  const more = element(
    "details",
    { id: "more" },
    element("summary", {}, "More ", element("span", { class: "quiet" }, "(optional)")),
    element("div", { class: "grid" }, ...boxes(folded)),
  );
  return [...boxes(open), more];
}

function makeControl(field, onUnit) {
  const id = `field-${field.name}`;
  const error = element("p", { class: "error", id: `${id}-error`, hidden: true });
  const hint = element("p", { class: "hint", id: `${id}-hint` });
  const described = { id, name: field.name, "aria-describedby": `${id}-error ${id}-hint` };
  const control = { field, unit: () => field.unit, focus: () => control.input.focus() };

  control.complain = (sentence) => {
    tell(error, sentence);
    error.hidden = !sentence;
    control.input.toggleAttribute("aria-invalid", false);
    if (!sentence) return;
    control.input.setAttribute("aria-invalid", "true");
    control.unfold();
  };
  control.unfold = () => {
    const details = box.closest("details");
    if (details) details.open = true;
  };
  control.isWrong = () => control.input.hasAttribute("aria-invalid");
  control.hint = (text) => tell(hint, text);

  const make = { boolean: yesNo, choice, list, image: takeImage, text }[field.kind] ?? number;
  const box = element("div", { class: "field", "data-field": field.name, "data-kind": field.kind });
  box.append(...make(field, control, described, onUnit), error, hint);
  box.addEventListener("input", () => control.complain(""));
  control.hint(hintOf(field, control.unit()));
  return Object.assign(control, { box });
}

/** A control that is an input with a text: what is typed is its state. */
function textual(field, control, input) {
  control.input = input;
  control.value = () => input.value.trim() || undefined;
  control.fill = (value) => {
    input.value = value ?? "";
  };
  control.state = () => (input.value ? [[field.name, input.value]] : []);
  control.restore = (values) => {
    if (!values.get(field.name)) return;
    input.value = values.get(field.name);
    control.unfold();
  };
}

function labelled(field, input) {
  return [element("label", { for: input.id }, field.label), input];
}

function text(field, control, described) {
  const type = field.date ? "date" : "text";
  const input = element("input", { ...described, type, required: field.required });
  textual(field, control, input);
  return labelled(field, input);
}

function number(field, control, described, onUnit) {
  const inputmode = field.kind === "integer" ? "numeric" : "decimal";
  const input = element("input", { ...described, type: "text", inputmode, required: field.required });
  textual(field, control, input);
  const units = [field.unit, ...field.units.map((of) => of.unit)];
  const choice = units.length > 1 && units.map((of) => [of, of]);
  const switched = choice && radios(`${field.name}-unit`, `Unit of ${field.label}`, choice);
  // What a person typed stays the truth: a switch only shows it in another unit. So switching to
  // and fro changes nothing, and what is sent was never rounded.
  let truth = { text: "", unit: field.unit };
  const unit = () => (switched ? switched.value() : field.unit);
  const factor = (of) => factorOf(field, of);

  control.unit = unit;
  control.value = () => {
    const written = truth.text.trim();
    const value = parse(written);
    if (written === "" || value === null) return written || undefined;
    return factor(truth.unit) === 1 ? value : value * factor(truth.unit);
  };
  const present = () => {
    const value = parse(truth.text);
    const same = value === null || unit() === truth.unit;
    input.value = same ? truth.text : typed((value * factor(truth.unit)) / factor(unit()));
  };
  control.fill = (value) => {
    truth = { text: value === undefined ? "" : String(value), unit: field.unit };
    present();
  };
  control.state = () => {
    const changed = switched && truth.unit !== field.unit;
    return [...(truth.text ? [[field.name, truth.text]] : []), ...(changed ? [[`${field.name}-unit`, truth.unit]] : [])];
  };
  control.restore = (values) => {
    // Addresses of before have only the beginning of the field's name: "weight-unit".
    const [, kept = field.unit] =
      [...values].find(([key, value]) => key.endsWith("-unit") && units.includes(value) && field.name.startsWith(key.slice(0, -5))) ?? [];
    if (!values.has(field.name)) return;
    truth = { text: values.get(field.name), unit: kept };
    if (switched) switched.choose(kept);
    present();
    if (truth.text) control.unfold();
  };
  input.addEventListener("input", () => {
    truth = { text: input.value, unit: unit() };
  });
  if (!switched) return labelled(field, input);
  switched.box.addEventListener("change", () => {
    present();
    control.complain("");
    control.hint(hintOf(field, unit()));
    onUnit();
  });
  return [element("div", { class: "pair" }, element("div", {}, ...labelled(field, input)), switched.box)];
}

function choice(field, control, described) {
  const none = new Option(field.required ? "Choose one" : "Not given", "");
  const options = field.choices.map((of) => new Option(spoken(String(of)), String(of)));
  const input = element("select", described, none, ...options);
  textual(field, control, input);
  control.value = () => field.choices.find((of) => String(of) === input.value);
  return labelled(field, input);
}

function yesNo(field, control, described) {
  const choices = [["true", "Yes"], ["false", "No"], ...(field.required ? [] : [["", "Not given"]])];
  const { box, value, choose } = radios(field.name, field.label, choices, described);
  control.input = box;
  control.value = () => ({ true: true, false: false })[value()];
  control.fill = (of) => choose(of === undefined ? "" : String(of));
  control.state = () => (value() ? [[field.name, value()]] : []);
  control.restore = (values) => values.has(field.name) && choose(values.get(field.name));
  control.focus = () => box.querySelector("input").focus();
  control.fill();
  return [element("p", { class: "label", "aria-hidden": "true" }, field.label), box];
}

function list(field, control, described) {
  const input = element("textarea", { ...described, rows: 4, spellcheck: "false", required: field.required });
  textual(field, control, input);
  const count = element("p", { class: "hint count", role: "status" });
  const tellCount = () => {
    const { length } = control.value() ?? [];
    tell(count, length ? `${show(length)} ${length === 1 ? "value" : "values"} entered` : "");
  };
  const { fill, state, restore } = control;
  control.value = () => {
    if (!input.value.trim()) return undefined;
    return isNumber(field.items) ? parseList(input.value) : words(field.items, input.value);
  };
  control.fill = (values) => {
    fill(values?.join("\n"));
    tellCount();
  };
  control.state = () => (input.value.length > LONGEST_KEPT ? [] : state());
  control.restore = (values) => {
    restore(values);
    tellCount();
  };
  input.addEventListener("input", tellCount);
  return [...labelled(field, input), count];
}

function words({ kind }, text) {
  const entries = text.split(/[\n,;\t]/).map((of) => of.trim()).filter(Boolean);
  return kind === "boolean" ? entries.map((of) => flag(of) ?? of) : entries;
}

/** Return what a word says of something that is or is not so, or nothing where it is another. */
export function flag(word) {
  if (/^(true|yes|y|1)$/i.test(word)) return true;
  return /^(false|no|n|0)$/i.test(word) ? false : undefined;
}

/** Make a group of radio buttons that looks like a switch. The first of `choices` is chosen. */
function radios(name, legend, choices, attributes = {}) {
  const inputs = choices.map(([value], index) =>
    element("input", { type: "radio", name, value, checked: index === 0 }),
  );
  const labels = inputs.map((input, index) => element("label", {}, input, element("span", {}, choices[index][1])));
  return {
    box: element("fieldset", { ...attributes, name: false, class: "switch" }, element("legend", {}, legend), ...labels),
    value: () => inputs.find(({ checked }) => checked)?.value ?? "",
    choose: (value) => {
      for (const input of inputs) input.checked = input.value === value;
    },
  };
}

function hintOf(field, unit) {
  const { description, kind, image } = field;
  const parts = [description === field.label ? "" : description];
  if (isNumber(field)) parts.push(withUnit(limits(field, unit), limits(field, unit) && unit));
  if (kind === "list") {
    const each = field.items && isNumber(field.items) ? limits(field.items) : "";
    const count = lengths(field);
    if (count) parts.push(`${count} values`);
    const measured = field.unit || field.items?.unit;
    if (each || measured) parts.push(withUnit(each ? `each ${each}` : "in", measured));
  }
  if (image) {
    const types = (image.types ?? []).map((of) => of.toUpperCase()).join(" or ");
    parts.push(types, image.max_bytes ? `at most ${showBytes(image.max_bytes)}` : "");
  }
  const said = parts.filter(Boolean).join(", ");
  return said ? `${capital(said)}.` : "";
}

// The service says "is out of range"; next to the field, whose name is there, "Out of range" does.
function complaint({ field, unit }, { problem, index, bound = "", unit: told }) {
  const element = Number.isInteger(index);
  const wrong = element ? `Value ${show(index + 1)} ${problem}` : capital(problem.replace(/^is /, ""));
  const own = isNumber(field) && limits(field, unit());
  const measured = element || (isNumber(field) && !field.plain);
  const says = own ? withUnit(own, unit()) : withUnit(bound, measured && bound && told);
  return says ? `${wrong}: enter ${says}.` : `${wrong}.`;
}
