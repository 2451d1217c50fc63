/** What the page asks of the service, and what can go wrong. */

const CARD = "/v2/models/fuel/card";
const PREDICT = "/v1/models/fuel:predict";
const CARD_PATIENCE = 8_000;
const PREDICT_PATIENCE = 20_000;
const UNREADABLE = "The service answered something that this page cannot read.";
const NOT_READY = "The service runs, but no model is ready yet.";
const ANSWER = ["l_per_100km", "mpg"].flatMap((unit) => [unit, `${unit}_low`, `${unit}_high`]);

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

/** Return the card of the model on the road. Throws ServiceError. */
export async function card() {
  const response = await ask(CARD, { cache: "no-cache" }, CARD_PATIENCE);
  return readable(await body(response), isCard);
}

/** Return `{prediction, version}` for one car. Throws ServiceError. */
export async function predict(car) {
  const { predictions, version } = await predictMany([car]);
  return { prediction: predictions[0], version };
}

/** Return `{predictions, version}` for cars, in their order. Throws ServiceError. */
export async function predictMany(cars) {
  const response = await ask(
    PREDICT,
    {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ instances: cars }),
    },
    PREDICT_PATIENCE,
  );
  const { predictions } = readable(await body(response), (value) => hasPredictions(value, cars.length));
  return { predictions, version: response.headers.get("x-roadworthy-version") };
}

async function ask(path, options, patience) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(patience) });
    if (!response.ok) throw await failure(response, path);
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
    isRecord(value.request) &&
    isRecord(value.request.properties) &&
    Object.values(value.request.properties).every(isProperty) &&
    isRecord(value.points) &&
    arePoints(value.points) &&
    isText(value.state ?? "") &&
    Array.isArray(value.split ?? []) &&
    (value.split ?? []).every(isPart)
  );
}

function isProperty(value) {
  return (
    isRecord(value) &&
    isText(value.description ?? "") &&
    [value.minimum ?? 0, value.maximum ?? 0].every(Number.isFinite) &&
    (value.enum === undefined || (Array.isArray(value.enum) && value.enum.every(isText)))
  );
}

function isPart(value) {
  return isRecord(value) && Number.isInteger(value.version) && Number.isFinite(value.share);
}

function arePoints({ weight_kg: weights, l_per_100km: litres, year }) {
  return [weights, litres, year].every(
    (column) =>
      Array.isArray(column) &&
      column.length > 0 &&
      column.length === year?.length &&
      column.every(Number.isFinite),
  );
}

function hasPredictions(value, count) {
  if (!isRecord(value) || !Array.isArray(value.predictions)) return false;
  return value.predictions.length === count && value.predictions.every(isPrediction);
}

function isPrediction(value) {
  return isRecord(value) && ANSWER.every((name) => Number.isFinite(value[name]));
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

async function failure(response, path) {
  const body = await response.json().catch(() => ({}));
  const said = isRecord(body) ? body : {};
  const message = typeof said.error === "string" ? said.error : "";
  switch (response.status) {
    case 503:
      // A service that gives its card has a model, and is only too busy for this request.
      if (path === PREDICT) return new ServiceError("not-ready", "The service cannot answer at the moment.");
      return new ServiceError("not-ready", NOT_READY);
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
