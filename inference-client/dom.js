/** Elements, made in one expression. Text is always set as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** Return an HTML element with attributes; `true` sets one without a value, `false` leaves it out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Set a text unless it is there: setting the same again makes a screen reader repeat it. */
export function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Mark a button as disabled. Not `disabled`: that loses the keyboard's focus. */
export function dim(button, value) {
  button.setAttribute("aria-disabled", String(value));
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}
