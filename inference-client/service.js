/** What the page asks of the service, and what can go wrong. */

import { fits } from "./schema.js";

const MODELS = "/v1/models";
const CARD_PATIENCE = 8_000;
const PREDICT_PATIENCE = 20_000;
const UNREADABLE = "The service answered something that this page cannot read.";
const NOT_READY = "The service runs, but no model is ready yet.";
const BUSY = "The service cannot answer at the moment.";

/**
 * The service did not do what was asked.
 *
 * `kind` is "unreachable" (nobody answered), "not-ready" (it runs, but has no model), "refused"
 * (the request is wrong, `details` say where) or "failed" (anything else).
 */
export class ServiceError extends Error {
  constructor(kind, message, details = []) {
    super(message);
    this.kind = kind;
    this.details = details;
  }

  /** Whether asking again later can help without a change to the request. */
  get passing() {
    return this.kind === "unreachable" || this.kind === "not-ready";
  }
}

/** Return the names of the models, in alphabetical order. Throws ServiceError. */
export async function models() {
  const response = await ask(MODELS, { cache: "no-cache" }, CARD_PATIENCE, NOT_READY);
  const found = readable(
    await body(response),
    (value) => isRecord(value) && Array.isArray(value.models) && value.models.every(isText),
  );
  return found.models.sort();
}

/** Return the card of the version of a model that is in production. Throws ServiceError. */
export async function card(model) {
  const path = `/v2/models/${encodeURIComponent(model)}/card`;
  const response = await ask(path, { cache: "no-cache" }, CARD_PATIENCE, NOT_READY);
  return readable(await body(response), isCard);
}

/**
 * Return `{predictions, version}` for requests, in their order; `answers` are the fields that each
 * prediction must have. Throws ServiceError.
 */
export async function predict(model, requests, answers) {
  const response = await ask(
    `/v1/models/${encodeURIComponent(model)}:predict`,
    {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ instances: requests }),
    },
    PREDICT_PATIENCE,
    BUSY,
  );
  const { predictions } = readable(await body(response), (value) =>
    hasPredictions(value, requests.length, answers),
  );
  return { predictions, version: response.headers.get("x-roadworthy-version") };
}

async function ask(path, options, patience, notReady) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(patience) });
    if (!response.ok) throw await failure(response, notReady);
    return response;
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw new ServiceError("unreachable", unreachable(error, patience));
  }
}

function unreachable(error, patience) {
  return error.name === "TimeoutError"
    ? `The service gave no answer within ${patience / 1000} seconds.`
    : "The service cannot be reached.";
}

async function body(response) {
  try {
    return await response.json();
  } catch {
    throw new ServiceError("failed", UNREADABLE);
  }
}

function readable(value, isAsExpected) {
  if (!isAsExpected(value)) throw new ServiceError("failed", UNREADABLE);
  return value;
}

function isCard(value) {
  return (
    isRecord(value) &&
    Number.isInteger(value.version) &&
    ["since", "digest", "commit", "candidate"].every((name) => isText(value[name])) &&
    !Number.isNaN(Date.parse(value.since)) &&
    isRecord(value.metrics) &&
    [value.request, value.answer].every(isSchema) &&
    isFigure(value.page?.figure ?? null) &&
    isText(value.page?.note ?? "") &&
    Array.isArray(value.page?.record ?? []) &&
    (value.page?.record ?? []).every(isRecord) &&
    isText(value.state ?? "") &&
    Array.isArray(value.split ?? []) &&
    (value.split ?? []).every(isPart)
  );
}

function isSchema(value) {
  return (
    isRecord(value) &&
    isRecord(value.properties) &&
    Object.values(value.properties).every(isProperty)
  );
}

function isProperty(value) {
  return (
    isRecord(value) &&
    isText(value.description ?? "") &&
    [value.minimum ?? 0, value.maximum ?? 0].every(Number.isFinite) &&
    (value.enum === undefined || Array.isArray(value.enum)) &&
    (value.units === undefined || (Array.isArray(value.units) && value.units.every(isUnit)))
  );
}

function isPart(value) {
  return isRecord(value) && Number.isInteger(value.version) && Number.isFinite(value.weight ?? value.share);
}

function isUnit(value) {
  return isRecord(value) && isText(value.unit) && value.factor > 0;
}

function isFigure(value) {
  return value === null || (isRecord(value) && isRecord(value.points ?? {}));
}

function hasPredictions(value, count, answers) {
  if (!isRecord(value) || !Array.isArray(value.predictions)) return false;
  const expected = answers.flatMap((field) => (field.low ? [field, field.low, field.high] : [field]));
  return (
    value.predictions.length === count &&
    value.predictions.every((of) => isRecord(of) && expected.every((field) => fits(field, of[field.name])))
  );
}

function isDetail(value) {
  return isRecord(value) && isText(value.problem) && isText(value.bound ?? "");
}

function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value) {
  return typeof value === "string";
}

async function failure(response, notReady) {
  const body = await response.json().catch(() => ({}));
  const said = isRecord(body) ? body : {};
  const message = typeof said.error === "string" ? said.error : "";
  switch (response.status) {
    case 503:
      return new ServiceError("not-ready", notReady);
    case 404:
      return new ServiceError("not-ready", NOT_READY);
    case 502:
    case 504:
      return new ServiceError("unreachable", "The service cannot be reached.");
    case 400:
    case 413:
    case 422:
      return new ServiceError(
        "refused",
        message || "The service refused the request.",
        Array.isArray(said.details) ? said.details.filter(isDetail) : [],
      );
    default:
      return new ServiceError(
        "failed",
        `The service could not answer (status ${response.status}). ${message}`.trim(),
      );
  }
}
