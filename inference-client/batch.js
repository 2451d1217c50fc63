/** Many rows at once: a file is dropped or chosen, answered row by row, shown and downloaded. */

import { hasDecimalCommas, match, reason, requestOf } from "./columns.js";
import { decode, FileError, parseCsv, writeCsv } from "./csv.js";
import { $, dim, element, tell as write } from "./dom.js";
import { show, showBytes } from "./numbers.js";
import { intervalName, isFlat, isNumber, say, sayInterval, sayNumber, withUnit } from "./schema.js";
import { predict, ServiceError } from "./service.js";

const MOST_BYTES = 5_000_000;
const MOST_ROWS = 20_000;
const ROWS_A_REQUEST = 500;
const ROWS_A_PAGE = 50;
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 5_000;

/**
 * Take charge of the panel. `onImage(file)` is called with an image that is dropped on the page; it
 * returns whether there is a place for it.
 *
 * Returns `describe(model)`, to be called with the model that is asked, `{name, fields, answers,
 * examples}`, and with nothing while none is known.
 */
export function takeBatch({ onImage }) {
  let model;
  let waiting; // a file that came before the model was known
  let table; // the file that is shown, with its rows and their answers
  let run = 0; // counts the files: what belongs to an earlier one stops by itself
  let page = 0;

  function describe(described) {
    const another = model && model.name !== described?.name;
    model = described;
    $("batch").hidden = Boolean(model) && !isFlat(model.fields);
    if (model) $("batch-columns").replaceChildren(...columnNames(model));
    $("batch-example").hidden = !model?.examples.length;
    if (another) close();
    if (!model || !waiting) return;
    const file = waiting;
    waiting = undefined;
    take(file);
  }

  /** Forget the file: it is another model's. */
  function close() {
    run += 1;
    table = waiting = undefined;
    $("batch-name").textContent = "";
    tell("");
    tellError("");
    draw();
  }

  async function take(file) {
    run += 1;
    const own = run;
    table = undefined;
    page = 0;
    $("batch-only").checked = false;
    tellError("");
    $("batch-name").textContent = file.name;
    // Now, not once the file is read: what is shown of an earlier file could be used meanwhile.
    draw();
    if (!model) {
      waiting = file;
      tell(`${file.name} is read as soon as the service answers.`);
      return;
    }
    tell(`Reading ${file.name}…`);
    try {
      const read = await open(file);
      if (own !== run) return;
      table = read;
    } catch (error) {
      if (own !== run) return;
      tell("");
      tellError(`${file.name}: ${error instanceof FileError ? error.message : "The file cannot be read."}`);
      return;
    }
    await answer(own);
  }

  async function open(file) {
    if (file.size > MOST_BYTES) {
      throw new FileError(`The file has more than the ${showBytes(MOST_BYTES)} that this page takes: split it.`);
    }
    const parsed = parseCsv(decode(new Uint8Array(await file.arrayBuffer())));
    const { fields } = model;
    const columns = match(parsed.header, fields);
    const lacking = fields
      .filter((field) => field.required && !columns.some((column) => column?.field === field))
      .map(({ name }) => name);
    if (!columns.some(Boolean)) lacking.push(...(lacking.length ? [] : [fields[0].name]));
    if (lacking.length) {
      throw new FileError(`There is no column ${lacking.join(" and none ")}. The first line names the columns: ${fields.map(({ name }) => name).join(", ")}.`);
    }
    if (!parsed.rows.length) throw new FileError("There are no rows below the names of the columns.");
    if (parsed.rows.length > MOST_ROWS) {
      throw new FileError(`There are ${show(parsed.rows.length)} rows, more than the ${show(MOST_ROWS)} that this page takes: split the file.`);
    }
    const decimalCommas = hasDecimalCommas(parsed, columns);
    const rows = parsed.rows.map((row) => ({
      ...row,
      request: requestOf(row.cells, columns, decimalCommas),
      ...tooWide(row, parsed.header),
    }));
    return { ...parsed, name: file.name, model, columns, decimalCommas, rows, stopped: "" };
  }

  /** Ask for every row that has no answer yet, and show how far that got, whatever happens. */
  async function answer(own) {
    const asked = table;
    try {
      await askFor(asked, own);
    } catch (error) {
      console.error(error);
      asked.stopped = `This page failed: ${error.message}`;
    }
    if (own !== run) return;
    tellProgress("");
    draw();
  }

  /** Ask for the open rows, part by part; rows that the service refuses are left out. */
  async function askFor(asked, own) {
    let size = ROWS_A_REQUEST;
    let retry = FIRST_RETRY;
    let left = asked.rows.filter(isOpen);
    asked.stopped = "";
    while (left.length && own === run) {
      const rows = left.slice(0, size);
      tellProgress("");
      draw();
      try {
        const { predictions, version } = await predict(
          asked.model.name,
          rows.map((row) => row.request),
          asked.model.answers,
        );
        rows.forEach((row, index) => Object.assign(row, { answer: predictions[index], version }));
        retry = FIRST_RETRY;
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        if (own !== run) return;
        if (error.passing) {
          tellProgress(`${error.message} Trying again automatically.`);
          draw();
          await new Promise((resolve) => setTimeout(resolve, retry));
          retry = Math.min(retry * 1.5, LONGEST_RETRY);
        } else if (error.kind !== "refused") {
          asked.stopped = error.message;
          break;
        } else if (!refuse(rows, error) && rows.length > 1) size = Math.ceil(rows.length / 2);
        else if (rows.length === 1) rows[0].problems ??= [{ sentence: error.message }];
      }
      left = left.filter(isOpen);
    }
  }

  /** Mark the rows that the service named, and return whether there are any. */
  function refuse(rows, { details }) {
    const named = details.filter(({ row }) => Number.isInteger(row) && rows[row]);
    for (const detail of named) {
      const row = rows[detail.row];
      row.problems ??= [];
      row.problems.push({
        field: detail.field,
        sentence: reason(detail, table.columns, table.header, table.model.fields),
      });
    }
    return named.length > 0;
  }

  function tell(sentence) {
    write($("batch-status"), sentence);
  }

  function tellError(sentence) {
    $("batch-error").textContent = sentence;
    $("batch-error").hidden = !sentence;
  }

  function tellProgress(trouble) {
    if (!table) return;
    const { rows, stopped } = table;
    const answered = rows.filter((row) => row.answer).length;
    const refused = rows.filter((row) => row.problems).length;
    const open = rows.length - answered - refused;
    $("batch-progress").hidden = !open || Boolean(stopped);
    $("batch-progress").max = rows.length;
    $("batch-progress").value = rows.length - open;
    $("batch-again").hidden = !stopped;
    $("batch-stop").hidden = !open || Boolean(stopped);
    const count = `${show(answered)} of ${many(rows.length)} answered`;
    const bad = refused ? `, ${show(refused)} cannot be: the row gives the reason` : "";
    const first = open ? `${count} so far${bad}.` : `${count}${bad}.`;
    tell([first, answeredBy(rows), stopped, trouble].filter(Boolean).join(" "));
  }

  function draw() {
    $("batch-table").hidden = !table;
    $("batch-tools").hidden = !table;
    if (!table) {
      for (const part of ["progress", "stop", "again", "pager"]) $(`batch-${part}`).hidden = true;
      $("batch-notes").textContent = "";
      return;
    }
    const bad = table.rows.filter((row) => row.problems).length;
    $("batch-only-label").hidden = bad === 0;
    $("batch-only-count").textContent = show(bad);
    const shown = $("batch-only").checked ? table.rows.filter((row) => row.problems) : table.rows;
    const pages = Math.max(1, Math.ceil(shown.length / ROWS_A_PAGE));
    page = Math.min(page, pages - 1);
    const first = page * ROWS_A_PAGE;
    const rows = shown.slice(first, first + ROWS_A_PAGE);
    $("batch-pager").hidden = pages === 1;
    $("batch-place").textContent = `${show(first + 1)} to ${show(first + rows.length)} of ${many(shown.length)}`;
    dim($("batch-before"), page === 0);
    dim($("batch-after"), page === pages - 1);
    $("batch-notes").textContent = notes(table);
    $("batch-head").replaceChildren(head(table));
    $("batch-body").replaceChildren(...rows.map((row) => line(row, table)));
  }

  function turn(by) {
    if (!table) return;
    page = Math.max(0, page + by);
    draw();
    $("batch-table").scrollTop = 0;
  }

  function stop() {
    run += 1;
    table.stopped = "Stopped.";
    tellProgress("");
    draw();
  }

  $("batch-file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (file) take(file);
    target.value = ""; // so that the same file, mended, can be chosen again
  });
  $("batch-before").addEventListener("click", () => turn(-1));
  $("batch-after").addEventListener("click", () => turn(1));
  $("batch-only").addEventListener("change", () => {
    page = 0;
    draw();
  });
  $("batch-stop").addEventListener("click", stop);
  $("batch-again").addEventListener("click", () => {
    run += 1;
    answer(run);
  });
  $("batch-save").addEventListener("click", () => save(table));
  $("batch-example").addEventListener("click", () => {
    download(`${model.name}-example.csv`, writeCsv(exampleRows(model), ","));
  });
  acceptDrops((files) => {
    const [image] = files.filter(({ type }) => type.startsWith("image/"));
    if ((image && onImage(image)) || $("batch").hidden) return;
    take(files[0]);
    if (files.length > 1) tellError(`One file at a time: only ${files[0].name} is read.`);
    $("batch").scrollIntoView({ block: "start" });
  });

  return { describe };
}

function acceptDrops(onFiles) {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (value) => {
    document.body.dataset.dropping = value;
  };
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(false);
    const files = [...event.dataTransfer.files];
    if (files.length) onFiles(files);
  });
}

function isOpen(row) {
  return !row.answer && !row.problems;
}

function tooWide({ cells }, header) {
  if (cells.slice(header.length).every((cell) => cell.trim() === "")) return {};
  const sentence = `The row has ${cells.length} cells, the first line ${header.length}: is one to be in quotation marks?`;
  return { problems: [{ sentence }] };
}

function answeredBy(rows) {
  const counts = new Map();
  for (const { version } of rows) {
    if (version) counts.set(version, (counts.get(version) ?? 0) + 1);
  }
  if (counts.size === 1) return `By version ${[...counts.keys()][0]}.`;
  const parts = [...counts].map(([version, count]) => `version ${version} (${show(count)})`);
  return parts.length ? `By ${parts.join(" and ")}.` : "";
}

function notes({ header, columns, decimalCommas }) {
  const unused = header.filter((title, index) => title && !columns[index]);
  const turned = columns.flatMap((column, index) =>
    column?.unit ? [`${header[index]} is read as ${column.field.name}, from ${column.unit}`] : [],
  );
  return [
    unused.length ? `Not used: ${unused.join(", ")}.` : "",
    turned.length ? `${turned.join("; ")}.` : "",
    decimalCommas ? "Commas are read as decimal commas." : "",
  ]
    .filter(Boolean)
    .join(" ");
}

/** Return the names of the columns that a file must have, as code. */
function columnNames({ fields }) {
  const required = fields.filter((field) => field.required);
  const names = (of) => of.flatMap(({ name }, index) => [index ? ", " : "", element("code", {}, name)]);
  if (!required.length) return ["any of the columns ", ...names(fields)];
  return ["the columns ", ...names(required), required.length < fields.length ? ", and any optional ones" : ""];
}

function exampleRows({ fields, examples }) {
  const named = fields.filter(({ name, required }) => required || examples.some((of) => name in of));
  const rows = examples.map((of) => named.map(({ name }) => String(of[name] ?? "")));
  return [named.map(({ name }) => name), ...rows];
}

/** Return the columns of the answers: `[title, class, text of an answer]`. */
function answerColumns({ answers }) {
  return answers.flatMap((field) => {
    // A label that is a whole description is too long here: then the unit says enough.
    const { label, unit, description } = field;
    const title = unit && label === description ? unit : withUnit(label, unit && label !== unit && `(${unit})`);
    const text = (answer) => (isNumber(field) ? sayNumber(field, answer) : say(field, answer[field.name]));
    const value = [title, isNumber(field) ? "n answer" : "answer", text];
    if (!field.low) return [value];
    return [value, [intervalName(field), "n", (answer) => sayInterval(field, answer).join(" to ")]];
  });
}

function head({ header, columns, rows, model }) {
  const row = document.createElement("tr");
  const titles = header.map((title, index) => ["th", title, columns[index] ? "" : "unused"]);
  const answers = answerColumns(model).map(([title, kind]) => ["th", title, kind]);
  const version = isMixed(rows) ? [["th", "Version", "n"]] : [];
  row.replaceChildren(...[["th", "Line", "n"], ...answers, ...version, ...titles].map((part) => cell(...part)));
  for (const title of row.children) title.scope = "col";
  return row;
}

function line({ line: number, cells, answer, version, problems }, { header, columns, rows, model }) {
  const row = document.createElement("tr");
  const mixed = isMixed(rows);
  const answers = answerColumns(model);
  row.append(cell("th", show(number), "n"));
  row.firstChild.scope = "row";
  if (answer) {
    row.append(...answers.map(([, kind, text]) => cell("td", text(answer), kind)));
    if (mixed) row.append(cell("td", version ?? "", "n"));
  } else {
    const sentences = [...new Set((problems ?? []).map(({ sentence }) => sentence))].join(" ");
    const said = cell("td", problems ? sentences : "waiting", problems ? "error" : "quiet");
    said.colSpan = answers.length + (mixed ? 1 : 0);
    row.append(said);
  }
  const wrong = new Set((problems ?? []).map(({ field }) => field));
  header.forEach((_, index) => {
    const field = columns[index]?.field.name;
    const made = cell("td", cells[index] ?? "", field ? "" : "unused");
    if (field && wrong.has(field)) made.className = "wrong";
    row.append(made);
  });
  if (problems) row.className = "refused";
  return row;
}

function isMixed(rows) {
  const first = rows.find((row) => row.version)?.version;
  return rows.some((row) => row.version && row.version !== first);
}

function cell(kind, text, className) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function many(count) {
  return `${show(count)} ${count === 1 ? "row" : "rows"}`;
}

/** Give the file back to the person, with the answers beside what it held. */
function save({ name, header, rows, separator, decimalCommas, model }) {
  const parts = model.answers.flatMap(({ name: part, low, high }) => (low ? [part, low.name, high.name] : [part]));
  const written = (value) => {
    if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value ?? "") : String(value ?? "");
    const text = String(Number(value.toPrecision(6)));
    return decimalCommas ? text.replace(".", ",") : text;
  };
  const lines = rows.map(({ cells, answer, version, problems }) => [
    ...header.map((_, index) => cells[index] ?? ""),
    ...parts.map((part) => written(answer?.[part])),
    version ?? "",
    (problems ?? []).map(({ sentence }) => sentence).join(" "),
  ]);
  const titles = [...header, ...parts.map((part) => `predicted_${part}`), "version", "problem"];
  download(`${name.replace(/\.[^.]*$/, "")}-answers.csv`, writeCsv([titles, ...lines], separator));
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
