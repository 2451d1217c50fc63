/** The page: joins the form, the service and the drawings. */

import { takeBatch } from "./batch.js";
import { legend, scatter, strip } from "./chart.js";
import { watch } from "./connection.js";
import { takeForm } from "./form.js";
import { predict, ServiceError } from "./service.js";
import { CONSUMPTION, show } from "./units.js";
import { capital, earlier, interval, onTheRoad, place, plain, rollout, whose } from "./words.js";

const SLOW = 2_000;
const GOOD_NEWS = 4_000;
const AGE_REFRESH = 15_000;

const $ = (id) => document.getElementById(id);

let card; // of the model on the road, once the service gave it
let trouble; // the ServiceError, while the service is away
let asked; // {car, answer, version, stale, before} of the last answer; stale once another car got
// none, before while the service that gave it is away
let busy = false;
let unanswered = false; // a car was asked for while the service was away
let slow; // the timer that tells of a long wait

const earlierNote = element("p", "");
earlierNote.id = "earlier";
earlierNote.setAttribute("role", "status");
$("told").closest(".said").before(earlierNote);

const form = takeForm($("car"), { onSubmit: () => ask({ byHand: true }), onWeightUnit: redraw });
restore();
const batch = takeBatch({ unit: consumptionUnit });
const connection = watch({ onCard, onTrouble });
setInterval(tellModel, AGE_REFRESH);
new ResizeObserver(draw).observe($("chart"));
$("consumption-units").addEventListener("change", redraw);

/** Ask the service for the car in the form, and show the answer or what is wrong. */
async function ask({ byHand }) {
  if (busy) return;
  const car = form.request();
  setBusy(true);
  remember();
  tellError("");
  form.complain([]);
  try {
    const { prediction, version } = await predict(car);
    const recovered = unanswered || trouble;
    unanswered = false;
    asked = { car, answer: prediction, version, stale: false, before: false };
    redraw();
    if (byHand) $("answer").scrollIntoView({ block: "nearest" });
    if (recovered || !isHeld(version)) connection.now();
  } catch (error) {
    if (!(error instanceof ServiceError)) {
      console.error(error);
      tellError(`This page failed at it: ${error.message}`);
      return;
    }
    outdate(car);
    fail(error, byHand);
  } finally {
    setBusy(false);
  }
}

/** Return whether the card knows the version that answered. */
function isHeld(version) {
  return [card, ...(card?.split ?? [])].some((of) => version === String(of?.version));
}

/** Mark the answer on the page as one of an earlier car, unless it is of the same car. */
function outdate(car) {
  if (!asked || JSON.stringify(car) === JSON.stringify(asked.car)) return;
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

function onCard(found) {
  if (trouble) notice("good", "The service is back.");
  trouble = undefined;
  tellAway(false);
  // Most cards are the one before: writing the same again would make a screen reader repeat it.
  if (JSON.stringify(found) !== JSON.stringify(card)) {
    const former = card;
    card = found;
    // Written anew only if it is new: someone may be choosing from a list just now.
    if (JSON.stringify(former?.request) !== JSON.stringify(card.request)) form.describe(card.request);
    tellPlace();
    tellFacts();
    draw();
  }
  tellModel();
  tellRollout();
  batch.describe(card);
  if (unanswered) ask({ byHand: false });
}

function onTrouble(error) {
  trouble = error;
  if (error.passing) tellAway(true);
  const promise = unanswered
    ? "Your car is answered as soon as that works."
    : "What you typed is kept.";
  notice("trouble", `${error.message} Trying again by itself. ${promise}`);
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
  if (trouble) {
    const state = { "not-ready": "No model ready yet", unreachable: "Service not reachable" };
    tellState("trouble", state[trouble.kind] ?? "Service in trouble");
  } else if (card) {
    tellState("ready", onTheRoad(card, Date.now()), capital(plain(card.candidate)));
  }
}

function tellRollout() {
  const sentence = card && !trouble ? rollout(card) : "";
  $("rollout").hidden = !sentence;
  if ($("rollout-words").textContent !== sentence) $("rollout-words").textContent = sentence;
  if (!sentence) return;
  const parts = card.split.map((part) => {
    const made = element("span", "");
    made.style.flexGrow = String(part.share);
    if (part.version !== card.version) made.className = "trial";
    return made;
  });
  $("rollout-bar").replaceChildren(...parts);
}

function tellState(state, version, candidate = "") {
  $("model").dataset.state = state;
  $("model-version").textContent = version;
  $("model-candidate").textContent = candidate;
}

function redraw() {
  remember();
  tellAnswer();
  tellEarlier();
  tellPlace();
  tellFacts();
  draw();
  batch.redraw();
}

function tellAnswer() {
  if (!asked) return;
  const { car, answer, version } = asked;
  const unit = consumptionUnit();
  $("nothing-yet").hidden = true;
  $("told").hidden = false;
  $("number").value = answer[unit];
  $("number").textContent = show(answer[unit], 1);
  $("unit").textContent = CONSUMPTION[unit].name;
  $("interval").textContent = interval(answer, unit);
  $("whose").textContent = `${whose(car, form.weightUnit())} ${CONSUMPTION[unit].note}`;
  $("answered-by").textContent = version ? `Answered by version ${version}.` : "";
}

function tellEarlier() {
  const note = asked ? earlier(asked, form.weightUnit()) : "";
  // Writing the same again would make a screen reader repeat it.
  if (earlierNote.textContent !== note) earlierNote.textContent = note;
  $("answer").closest(".results").dataset.stale = Boolean(note);
}

function tellPlace() {
  if (!card) return;
  $("place").textContent = asked
    ? place(card.points, asked.car, asked.answer, consumptionUnit())
    : `Each of the ${card.points.year.length} points is a car, its colour the model year.`;
}

function draw() {
  if (!card) return;
  const units = { weight: form.weightUnit(), consumption: consumptionUnit() };
  $("chart").replaceChildren(scatter(card.points, asked, units, $("chart").clientWidth));
  $("legend").replaceChildren(...legend(card.points.year));
  if (!asked) return;
  $("drawn").hidden = false;
  $("strip").replaceChildren(
    strip(card.points, asked, units.consumption, $("strip").clientWidth),
  );
}

function tellFacts() {
  if (!card) return;
  const { metrics, challenger } = card;
  const mean = { l_per_100km: metrics.mae_l_per_100km, mpg: metrics.mae_mpg }[consumptionUnit()];
  const facts = {
    "On the road since": new Date(card.since).toLocaleString("en", { dateStyle: "long", timeStyle: "short" }),
    Candidate: capital(plain(card.candidate)),
    "Tested on": metrics.rows && `${show(metrics.rows)} cars that it never saw in training`,
    "Mean error": mean && `${show(mean, 2)} ${CONSUMPTION[consumptionUnit()].name}`,
    "R² on mpg": metrics.r2 && show(metrics.r2, 3),
    "Interval held the truth": metrics.coverage && `for ${show(100 * metrics.coverage)} % of them`,
    "On trial": challenger && `Version ${challenger}`,
    "Git commit": card.commit.slice(0, 12),
    "Bundle digest": card.digest.slice(0, 12),
  };
  const known = Object.entries(facts).filter(([, value]) => value);
  $("facts").replaceChildren(...known.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  $("about").hidden = false;
}

function tellError(sentence) {
  $("form-error").textContent = sentence;
  $("form-error").hidden = !sentence;
}

function notice(kind, sentence) {
  const [shown] = $("notices").children;
  if (shown?.textContent === sentence) return;
  const box = element("p", sentence);
  box.className = "notice";
  box.dataset.kind = kind;
  $("notices").replaceChildren(box);
  if (kind === "good") setTimeout(() => box.remove(), GOOD_NEWS);
}

function setBusy(value) {
  busy = value;
  // Not `disabled`: a disabled button loses the keyboard's focus.
  $("ask").setAttribute("aria-disabled", String(value));
  $("ask").dataset.busy = value;
  $("ask-label").textContent = value ? "Predicting…" : "Predict consumption";
  $("waiting").textContent = "";
  clearTimeout(slow);
  if (!value) return;
  slow = setTimeout(() => {
    $("waiting").textContent = "The service takes longer than usual. Still waiting for its answer…";
  }, SLOW);
}

function consumptionUnit() {
  return document.querySelector("[name=consumption-unit]:checked").value;
}

/** Keep what was typed in the address, so that reloading or sharing it brings the car back. */
function remember() {
  const state = form.state();
  state.set("consumption-unit", consumptionUnit());
  history.replaceState(null, "", `#${state}`);
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  form.restore(state);
  const unit = state.get("consumption-unit");
  if (unit in CONSUMPTION) $("consumption-units").querySelector(`[value=${unit}]`).checked = true;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
