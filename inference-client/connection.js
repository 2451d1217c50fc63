/** Keeps the card of the model up to date, and keeps trying while the service is away. */

import { card } from "./service.js";

const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 5_000;
const REFRESH = 10_000;
const REFRESH_IN_ROLLOUT = 2_000;

/**
 * Ask for the card now, then again and again.
 *
 * `onCard(card)` is called with each card, `onTrouble(error)` with each failure. Between failures
 * the pause grows from one second to five. A page that nobody looks at does not ask.
 *
 * Returns `now`, which asks at once, and `later`, which asks after the next pause: for a service
 * that gives its card and still does not answer, and must not be asked without a pause.
 */
export function watch({ onCard, onTrouble }) {
  let timer;
  let retry = FIRST_RETRY;
  let asking = false;

  async function look() {
    if (asking) return;
    asking = true;
    const { found, error } = await attempt();
    asking = false;
    if (error) later();
    else plan(isRolledOut(found) ? REFRESH_IN_ROLLOUT : REFRESH);
    if (error) onTrouble(error);
    else onCard(found);
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

async function attempt() {
  try {
    return { found: await card() };
  } catch (error) {
    return { error };
  }
}
