/** Keeps the list of models and the card of one up to date, and retries while the service is away. */

import { card, models, ServiceError } from "./service.js";

const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 5_000;
const REFRESH = 10_000;
const REFRESH_IN_ROLLOUT = 2_000;

/**
 * Ask for models and card now, then again and again.
 *
 * `chosen()` is the name of the model to ask for, or nothing for the first. `onModels(names, name)`
 * is called before each `onCard(card, name)`, `onTrouble(error)` with each failure. Between failures
 * the pause grows from one second to five. A page that nobody looks at does not ask.
 *
 * Returns `now`, which asks at once, and `later`, which asks after the next pause: for a service
 * that gives its card and still does not answer, and must not be asked without a pause.
 */
export function watch({ chosen, onModels, onCard, onTrouble }) {
  let timer;
  let retry = FIRST_RETRY;
  let asking = false;

  async function look() {
    if (asking) return;
    asking = true;
    const wanted = chosen();
    const { names, name, found, error } = await attempt(wanted);
    asking = false;
    if (chosen() !== wanted) {
      look(); // another model was chosen meanwhile
      return;
    }
    if (error) later();
    else plan(isRolledOut(found) ? REFRESH_IN_ROLLOUT : REFRESH);
    if (names) onModels(names, name);
    if (error) onTrouble(error);
    else onCard(found, name);
  }

  function plan(pause) {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, pause);
  }

  function later() {
    plan(retry);
    retry = Math.min(retry * 1.5, LONGEST_RETRY);
  }

  function now() {
    retry = FIRST_RETRY;
    look();
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) now();
  });
  window.addEventListener("online", now);
  look();
  return { now, later };
}

function isRolledOut({ split = [], state = "" }) {
  return split.length > 1 || state !== "";
}

async function attempt(wanted) {
  let names;
  let name = wanted;
  try {
    names = await models();
    name ||= names[0];
    if (!name) throw new ServiceError("not-ready", "The service runs, but no model is ready yet.");
    return { names, name, found: await card(name) };
  } catch (error) {
    return { names, name, error };
  }
}
