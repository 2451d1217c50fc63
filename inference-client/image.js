/** The control of an image: a file is chosen or dropped, shown, and sent as base64. */

import { element } from "./dom.js";
import { showBytes } from "./numbers.js";

const SMALL = 64; // pixels: pictures up to that size are shown with their pixels

/** Make the control of an image field; see form.js. */
export function takeImage(field, control, described) {
  const { types = ["png", "jpeg"], max_bytes: most } = field.image ?? {};
  const input = element("input", { ...described, type: "file", accept: types.map((of) => `image/${of}`).join() });
  const preview = element("img", { alt: "", hidden: true });
  const named = element("span", { class: "quiet", role: "status" }, "Choose an image or drop it here");
  const remove = element("button", { type: "button", class: "plain", hidden: true }, "Remove");
  const place = element("div", { class: "drop" }, preview, element("div", {}, input, named), remove);
  let base64;

  function present(value, name = "") {
    base64 = value;
    preview.hidden = remove.hidden = !value;
    preview.alt = value ? `The image to be sent: ${name}` : "";
    if (value) preview.src = `data:image/${value.startsWith("/9j/") ? "jpeg" : "png"};base64,${value}`;
    else preview.removeAttribute("src");
    named.textContent = value ? name : "Choose an image or drop it here";
  }

  async function take(file) {
    const type = file.type.replace("image/", "");
    if (!types.includes(type)) {
      control.complain(`${file.name} is not an image of the type ${types.join(" or ")}.`);
    } else if (most && file.size > most) {
      control.complain(`${file.name} has ${showBytes(file.size)}: choose one of at most ${showBytes(most)}.`);
    } else {
      control.complain("");
      present(await read(file), file.name);
    }
  }

  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) await take(file);
    input.value = ""; // so that the same file, changed, can be chosen again
  });
  preview.addEventListener("load", () => {
    preview.toggleAttribute("data-small", preview.naturalWidth <= SMALL);
  });
  remove.addEventListener("click", () => {
    present();
    input.focus();
  });
  Object.assign(control, {
    input,
    value: () => base64,
    fill: (value) => present(value, "example"),
    state: () => [],
    restore: () => {},
    drop: take,
  });
  return [element("label", { for: described.id }, field.label), place];
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
