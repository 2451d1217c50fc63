/** Files of comma-separated values: read as people's programs write them, written safely. */

const BYTE_ORDER_MARK = "\ufeff";
const SEPARATORS = [",", ";", "\t", "|"];
const NUMBER = /^[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?$/i;
// What a spreadsheet takes for the beginning of a formula.
const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

/** A file cannot be used. The message is a sentence. */
export class FileError extends Error {}

/** Return the text of a file's bytes: UTF-8, UTF-16 with its mark, or else what Windows wrote. */
export function decode(bytes) {
  const text = new TextDecoder(encoding(bytes)).decode(bytes);
  if (text.includes("\0")) throw new FileError("This is no text: save the table as CSV and drop that.");
  return text;
}

function encoding(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return "utf-8";
  } catch {
    return "windows-1252";
  }
}

/**
 * Return `{header, rows, separator}` of a text; each row is `{line, cells}`, where `line` is the
 * line of the file on which it begins. Lines without anything are left out. Throws FileError.
 *
 * The separator is a comma, a semicolon, a tab or a bar: the one of which the header has most, or
 * the one that a first line such as "sep=;" names.
 */
export function parseCsv(text) {
  const bare = text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
  const named = /^sep=(.)(\r\n|\r|\n)/i.exec(bare);
  const start = named ? named[0].length : 0;
  const separator = named?.[1] ?? likeliest(bare);
  const records = split(bare, start, separator, named ? 2 : 1);
  const [first, ...rows] = records.filter(({ cells }) => cells.some((cell) => cell.trim() !== ""));
  if (!first) throw new FileError("The file is empty.");
  return { header: first.cells.map((cell) => cell.trim()), rows, separator };
}

function likeliest(text) {
  const counts = new Map(SEPARATORS.map((of) => [of, 0]));
  let quoted = false;
  for (const character of text.trimStart()) {
    if (character === '"') quoted = !quoted;
    else if (!quoted && (character === "\n" || character === "\r")) break;
    else if (!quoted && counts.has(character)) counts.set(character, counts.get(character) + 1);
  }
  return SEPARATORS.reduce((best, of) => (counts.get(of) > counts.get(best) ? of : best));
}

function split(text, start, separator, firstLine) {
  const records = [];
  let cells = [];
  let cell = "";
  let line = firstLine;
  let begun = line;
  let opened = 0; // the line on which a quote was opened, 0 outside of quotes

  function endRecord() {
    records.push({ line: begun, cells: [...cells, cell] });
    cells = [];
    cell = "";
    begun = line;
  }

  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    const isEnd = character === "\n" || (character === "\r" && text[at + 1] !== "\n");
    if (isEnd) line += 1;
    if (opened) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else opened = 0;
    } else if (character === '"' && cell.trim() === "") {
      cell = "";
      opened = line;
    } else if (character === separator) {
      cells.push(cell);
      cell = "";
    } else if (isEnd) endRecord();
    else if (character !== "\r") cell += character;
  }
  if (opened) {
    throw new FileError(`The quotation mark that opens on line ${opened} is never closed: close it.`);
  }
  if (cell !== "" || cells.length) endRecord();
  return records;
}

/** Return rows of words as the text of a file that a spreadsheet opens without running anything. */
export function writeCsv(rows, separator) {
  const lines = rows.map((cells) => cells.map(written).join(separator));
  return `${BYTE_ORDER_MARK}${lines.join("\r\n")}\r\n`;
}

function written(text) {
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",;\t|\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
