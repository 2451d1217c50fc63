/** The page: joins the models, the form of one, the service and the drawings. */

import { drawAnswer } from "./answer.js";
import { takeBatch } from "./batch.js";
import { watch } from "./connection.js";
import { $, drawn, element, tell } from "./dom.js";
import { caption, draw as drawFigure, figureOf, legend, strip } from "./figure.js";
import { makeForm } from "./form.js";
import { rounded } from "./numbers.js";
import { answersOf, capital, examplesOf, fieldsOf, spoken, summary } from "./schema.js";
import { predict, ServiceError } from "./service.js";
import { earlier, inProduction, rollout, weightOf } from "./text.js";

const SLOW = 2_000;
const GOOD_NEWS = 4_000;
const FACTOR = 3; // by which the bound of a series is multiplied, or divided, at most
const AGE_REFRESH = 15_000;
const LABELS = { "not-ready": "No model ready yet", unreachable: "Service not reachable" };

let tabs = ""; // the models and the chosen one, as they are shown
let address = readAddress(); // {name, query}: the chosen model and what was entered, if any
let card; // of the version in production, once the service gave it
let model; // {name, fields, answers, examples, figure} that the card describes
let form; // of the model
let trouble; // the ServiceError, while the service is away
let asked; // {request, answer, version, stale, before} of the last answer; stale once another
// request got none, before while the service that gave it is away
let busy = false;
let unanswered = false; // an answer was asked for while the service was away
let slow; // the timer that tells of a long wait
let entries = []; // of the figure, which the slider reads
const entered = new Map(); // what was entered for each model, as a query

const batch = takeBatch({ onImage: (file) => form?.drop(file) });
const connection = watch({ chosen: () => address.name, onModels, onCard, onTrouble });
setInterval(tellModel, AGE_REFRESH);
new ResizeObserver(draw).observe($("chart"));
$("ask").closest("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask({ byHand: true });
});
$("reader").addEventListener("input", read);
$("level").addEventListener("input", draw);
$("chart").addEventListener("pointermove", readAt);
window.addEventListener("hashchange", () => {
  remember(address.name ?? model?.name);
  address = readAddress();
  close();
  connection.now();
});

/** Ask the service for what is in the form, and show the answer or what is wrong. */
async function ask({ byHand }) {
  if (busy || !form) return;
  const own = model;
  const request = form.request();
  setBusy(true);
  keep();
  tellError("");
  form.complain([]);
  try {
    const { predictions, version } = await predict(own.name, [request], own.answers);
    if (own !== model) return;
    const recovered = unanswered || trouble;
    unanswered = false;
    asked = { request, answer: predictions[0], version, stale: false, before: false };
    redraw();
    if (byHand) $("answer").scrollIntoView({ block: "nearest" });
    if (recovered || !isHeld(version)) connection.now();
  } catch (error) {
    if (own !== model) return;
    if (!(error instanceof ServiceError)) {
      console.error(error);
      tellError(`This page failed: ${error.message}`);
      return;
    }
    outdate(request);
    fail(error, byHand);
  } finally {
    setBusy(false);
  }
}

/** Return whether the card knows the version that answered. */
function isHeld(version) {
  return [card, ...(card?.split ?? [])].some((of) => version === String(of?.version));
}

/** Mark the answer on the page as one of an earlier request, unless it is of the same. */
function outdate(request) {
  if (!asked || JSON.stringify(request) === JSON.stringify(asked.request)) return;
  asked.stale = true;
  tellEarlier();
  draw();
}

function fail(error, byHand) {
  unanswered = error.passing;
  if (error.passing) {
    onTrouble(error);
    connection.later();
    return;
  }
  const homeless = form.complain(error.details);
  if (homeless.length || !error.details.length) tellError(error.message);
  if (byHand) form.focusFirstBad();
}

function onModels(found, name) {
  const all = found.includes(name) || !name ? found : [...found, name];
  const shown = JSON.stringify([all, name]);
  if (shown === tabs) return; // writing the same again would take the focus from a tab
  tabs = shown;
  $("models").hidden = all.length < 2;
  $("models").replaceChildren(
    ...all.map((of) =>
      element("a", { href: `#/${encodeURIComponent(of)}`, "aria-current": of === name && "page" }, capital(spoken(of))),
    ),
  );
}

function onCard(found, name) {
  if (trouble) notice("good", "The service is back.");
  trouble = undefined;
  tellAway(false);
  // Most cards are the one before: writing the same again would make a screen reader repeat it.
  if (JSON.stringify(found) !== JSON.stringify(card)) {
    const former = card;
    card = found;
    describe(name, former);
    tellFacts();
    draw();
  }
  tellModel();
  tellRollout();
  batch.describe(model);
  if (unanswered) ask({ byHand: false });
}

/** Take what a card says of its model. The form is made anew only if the request is another. */
function describe(name, former) {
  const fields = fieldsOf(card.request);
  const answers = answersOf(card.answer);
  model = { name, fields, answers, examples: examplesOf(card), figure: figureOf(card, fields, answers) };
  const title = card.title || capital(spoken(name));
  tell($("title"), title);
  document.title = `${title} · Roadworthy`;
  $("figure").hidden = !model.figure;
  $("level").value = 0;
  tellRecord();
  if (JSON.stringify(former?.request) === JSON.stringify(card.request)) return;
  const query = form ? form.state() : new URLSearchParams(address.query || entered.get(name));
  form = makeForm(fields, { onUnit: redraw });
  $("fields").replaceChildren(...form.nodes);
  const restored = [...query].length > 0;
  if (model.examples.length) form.fill(model.examples[0]);
  if (restored) {
    form.fill({});
    form.restore(query);
  }
  const filled = model.examples.length && !restored ? "An example is filled in:" : "Fill in the request and";
  tell($("nothing-yet"), `${filled} press “Predict”.`);
  tell($("about-request"), firstParagraph(card.request.description));
  tell($("about-answer"), firstParagraph(card.answer.description));
  tellExamples();
  $("ask").hidden = false;
}

/** Say what a user must know of the model, and list its past answers with what came. */
function tellRecord() {
  const { note = "", record = [] } = card.page ?? {};
  tell($("note"), note);
  const names = Object.keys(record[0] ?? {});
  $("record").hidden = !note && !record.length;
  $("record-head").replaceChildren(...names.map((name) => element("th", { scope: "col" }, name)));
  const cells = (row) => names.map((name) => element("td", {}, String(row[name])));
  $("record-body").replaceChildren(...record.map((row) => element("tr", {}, ...cells(row))));
}

function firstParagraph(text = "") {
  return text.split("\n\n")[0].replaceAll("\n", " ");
}

function tellExamples() {
  const { fields, examples } = model;
  $("examples").hidden = examples.length < 2;
  const buttons = examples.map((example, index) => {
    const about = summary(fields, example);
    const button = element("button", { type: "button", class: "plain", title: about }, String(index + 1));
    button.setAttribute("aria-label", `Example ${index + 1}: ${about}`);
    button.addEventListener("click", () => {
      form.fill(example);
      keep();
    });
    return button;
  });
  $("examples").replaceChildren("Examples", ...buttons);
}

/** Empty the page for another model. */
function close() {
  card = model = form = asked = undefined;
  unanswered = false;
  entries = [];
  for (const id of ["fields", "outputs", "strip", "chart", "legend", "facts"]) $(id).replaceChildren();
  for (const id of ["about-request", "about-answer", "whose", "answered-by", "place", "title"]) tell($(id), "");
  for (const id of ["told", "drawn", "figure", "record", "about", "examples", "ask", "rollout"]) $(id).hidden = true;
  $("nothing-yet").hidden = false;
  tellError("");
  tellEarlier();
  tellState("connecting", "Asking the service…");
  batch.describe(undefined);
}

function onTrouble(error) {
  trouble = error;
  if (error.passing) tellAway(true);
  const promise = unanswered ? "Your request is answered as soon as that works." : "What you typed is kept.";
  notice("trouble", `${error.message} Trying again automatically.${form ? ` ${promise}` : ""}`);
  tellModel();
  tellRollout();
}

/** Mark the answer on the page as one of before, while the service is away. */
function tellAway(before) {
  if (!asked) return;
  asked.before = before;
  tellEarlier();
}

function tellModel() {
  if (trouble) tellState("trouble", LABELS[trouble.kind] ?? "Service in trouble");
  else if (card) tellState("ready", inProduction(card, Date.now()), capital(spoken(card.candidate)));
}

function tellRollout() {
  const sentence = card && !trouble ? rollout(card) : "";
  $("rollout").hidden = !sentence;
  tell($("rollout-words"), sentence);
  if (!sentence) return;
  const parts = card.split.map((part) => {
    const made = element("span", part.version === card.version ? {} : { class: "challenger" });
    made.style.flexGrow = String(weightOf(part));
    return made;
  });
  $("rollout-bar").replaceChildren(...parts);
}

function tellState(state, version, candidate = "") {
  $("model").dataset.state = state;
  tell($("model-version"), version);
  tell($("model-candidate"), candidate);
}

function redraw() {
  keep();
  tellAnswer();
  tellEarlier();
  draw();
}

function tellAnswer() {
  if (!asked) return;
  const { request, answer, version } = asked;
  $("nothing-yet").hidden = true;
  $("told").hidden = false;
  $("outputs").replaceChildren(...drawAnswer(model.answers, answer));
  tell($("whose"), `For: ${summary(model.fields, request, form.unitOf)}.`);
  tell($("answered-by"), version ? `Answered by version ${version}.` : "");
}

function tellEarlier() {
  const said = asked && { ...asked, summary: summary(model.fields, asked.request, form.unitOf) };
  const note = said ? earlier(said) : "";
  tell($("earlier"), note);
  $("answer").closest(".results").dataset.stale = Boolean(note);
}

function draw() {
  const { figure, answers = [] } = model ?? {};
  if (!figure) return;
  const level = Number($("level").value);
  const made = drawFigure(figure, asked, form.unitOf, $("chart").clientWidth, FACTOR ** (level / 50));
  const waiting = element("p", { class: "hint empty" }, "The figure appears with the first answer.");
  $("chart").replaceChildren(made ? made.svg : waiting);
  entries = made?.entries ?? [];
  $("reader-box").hidden = !entries.length;
  $("level-box").hidden = !(made && figure.bound);
  $("level").setAttribute("aria-valuetext", `${rounded(FACTOR ** (level / 50), 2)} times the bound`);
  $("reader").max = Math.max(0, entries.length - 1);
  $("reader").value = 0;
  $("reader").setAttribute("aria-valuetext", entries[0]?.text ?? "");
  tell($("reading"), "");
  const scatter = figure.kind === "scatter";
  tell($("figure-title"), scatter ? "Known examples" : figure.values.label);
  tell($("place"), scatter ? caption(figure, asked, form.unitOf) : (made?.words ?? ""));
  $("legend").replaceChildren(...(scatter ? legend(figure) : []));
  const field = answers.find(({ name, low }) => low && scatter && name === figure.y.name);
  const whole = field && asked && [field, field.low, field.high].every(({ name }) => asked.answer[name] !== null);
  $("drawn").hidden = !whole;
  if (whole) $("strip").replaceChildren(strip(field, figure.points[field.name], asked.answer, $("strip").clientWidth));
}

/** Say which entry of the figure the slider points to, and mark it. */
function read() {
  const entry = entries[Number($("reader").value)];
  if (!entry) return;
  $("chart").querySelector(".ring")?.remove();
  $("chart").firstChild.append(drawn("circle", { class: "ring", cx: entry.x, cy: entry.y, r: 8 }));
  $("reader").setAttribute("aria-valuetext", entry.text);
  tell($("reading"), entry.text);
}

/** Read what is nearest to the pointer. */
function readAt({ clientX, clientY }) {
  const box = $("chart").firstChild?.getBoundingClientRect();
  const distance = ({ x, y }) => Math.hypot(x - (clientX - box.left), y - (clientY - box.top));
  const far = entries.map(distance);
  const nearest = far.indexOf(Math.min(...far));
  if (nearest < 0 || nearest === Number($("reader").value)) return;
  $("reader").value = nearest;
  read();
}

function tellFacts() {
  const { metrics, challenger } = card;
  const facts = {
    "In production since": new Date(card.since).toLocaleString("en", { dateStyle: "long", timeStyle: "short" }),
    Task: card.task && capital(spoken(card.task)),
    Candidate: capital(spoken(card.candidate)),
    Challenger: challenger && `Version ${challenger}`,
    "Git commit": card.commit.slice(0, 12),
    "Bundle digest": card.digest.slice(0, 12),
  };
  const measured = Object.entries(metrics).filter(([, value]) => Number.isFinite(value));
  const known = [
    ...Object.entries(facts).filter(([, value]) => value),
    ...measured.map(([name, value]) => [capital(spoken(name)), rounded(value, 3)]),
  ];
  $("facts").replaceChildren(...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  $("about").hidden = false;
}

function tellError(sentence) {
  tell($("form-error"), sentence);
  $("form-error").hidden = !sentence;
}

function notice(kind, sentence) {
  const [shown] = $("notices").children;
  if (shown?.textContent === sentence) return;
  const box = element("p", { class: "notice", "data-kind": kind }, sentence);
  $("notices").replaceChildren(box);
  if (kind === "good") setTimeout(() => box.remove(), GOOD_NEWS);
}

function setBusy(value) {
  busy = value;
  // Not `disabled`: a disabled button loses the keyboard's focus.
  $("ask").setAttribute("aria-disabled", String(value));
  $("ask").dataset.busy = value;
  $("ask-label").textContent = value ? "Predicting…" : "Predict";
  $("waiting").textContent = "";
  clearTimeout(slow);
  if (!value) return;
  slow = setTimeout(() => {
    $("waiting").textContent = "The service takes longer than usual. Still waiting for its answer…";
  }, SLOW);
}

/** Keep what was entered in the address, so that reloading or sharing it brings it back. */
function keep() {
  if (!form) return;
  remember(model.name);
  address = { name: address.name, query: entered.get(model.name) };
  history.replaceState(null, "", `#/${encodeURIComponent(model.name)}?${address.query}`);
}

function remember(name) {
  if (form) entered.set(name, String(form.state()));
}

/** Read `#/NAME?QUERY`, or the query alone: the address that pages of before wrote. */
function readAddress() {
  const [, name = "", query = ""] = /^#\/([^?]*)\??(.*)$/.exec(location.hash) ?? [];
  if (name) return { name: decodeURIComponent(name), query };
  return { name: undefined, query: location.hash.slice(1) };
}
