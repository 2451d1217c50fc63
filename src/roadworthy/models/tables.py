"""Read CSV files as they were meant, or say on which line they are not what they seem."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

MISSING_NUMBERS = frozenset(
    {"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "#N/A", "<NA>"}
)
"""What stands for a missing value in a column of numbers, beside an empty field. In a column of
strings each is a string like any other."""

# The first bytes of a file, https://en.wikipedia.org/wiki/List_of_file_signatures.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_TAR = (257, b"ustar")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LONGEST_FIELD = 2**31 - 1
"""A list of numbers may be longer than the csv module allows by default."""
_SHOWN = 60


_NOTHING: Mapping[str, str] = MappingProxyType({})
BOOLEANS: Mapping[str, float] = MappingProxyType(
    {"true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0}
)
"""What booleans are in a CSV file, in any case."""
# 10:30, 10:30:00.5, 10:30 pm, T10:30:00Z, 10:30:00+01:00
_TIME_OF_DAY = r"[T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s?([AaPp][Mm])?\s?(Z|[+-]\d{2}:?\d{2})?$"


class CsvError(ValueError):
    """A file is not a CSV table with a header and as many fields in each row."""


def read_csv(
    path: Path, *, strings: Collection[str] = (), missing: Collection[str] = ()
) -> pd.DataFrame:
    """Return the table of a CSV file, every value in its column.

    A column is one of numbers where every value is a number or missing, otherwise one of strings.
    An empty field is missing. A blank line is a row without values, so that a row's place gives its
    line in the file.

    Parameters
    ----------
    path
        A file in UTF-8 with commas and a header.
    strings
        The columns whose values stay strings, also where they look like numbers.
    missing
        More spellings of a missing value, such as ``?``.

    Raises
    ------
    CsvError
        The file is compressed, is not UTF-8, has no header, another separator, or a row with more
        or fewer fields than the header. It names the line and what to do.
    OSError
        The file cannot be read.
    """
    absent = ["", *missing]
    frame: pd.DataFrame = pd.read_csv(
        path,
        dtype=dict.fromkeys(strings, str),
        na_values={
            name: absent if name in strings else [*absent, *MISSING_NUMBERS] for name in check(path)
        },
        float_precision="round_trip",
        **_AS_WRITTEN,
    )
    found = [
        name
        for name in frame.columns
        if name not in strings and frame[name].dtype.kind not in "iuf"
    ]
    if found:  # only now is it known that a spelling of missing is a string in these
        text = pd.read_csv(path, dtype=str, usecols=found, na_values=absent, **_AS_WRITTEN)
        frame[found] = text[found]
    return frame


def read_table(
    path: Path,
    *,
    strings: Collection[str] = (),
    booleans: Collection[str] = (),
    dates: Mapping[str, str] = _NOTHING,
    names: Mapping[str, str] = _NOTHING,
) -> pd.DataFrame:
    """Return the table of a CSV file with typed columns.

    Parameters
    ----------
    path
        As for :func:`read_csv`.
    strings, booleans
        The columns of strings, and those of booleans, which become 1 and 0.
    dates
        The format of each column of dates, which become strings such as ``2024-03-15``.
    names
        The name of each column that is named differently in the file. The other parameters have
        these names.

    Raises
    ------
    CsvError, OSError
        As :func:`read_csv`.
    """
    of_file = {name: header for header, name in names.items()}
    plain = [of_file.get(name, name) for name in (*strings, *dates)]
    frame = read_csv(path, strings=plain).rename(columns=dict(names))
    for name in frame.columns.intersection(list(booleans)):
        frame[name] = read_booleans(frame[name])
    for name in frame.columns.intersection(list(dates)):
        frame[name] = read_dates(frame[name], dates[name])
    return frame


def read_booleans(values: pd.Series) -> pd.Series:
    """Return 1 and 0 for the strings of :data:`BOOLEANS`; what is none of them stays."""
    if values.dtype.kind in "iuf":
        return values
    known = values.mask(values.isin(MISSING_NUMBERS))
    found = known.str.strip().str.lower().map(BOOLEANS)
    read: pd.Series = found.where(found.notna() | known.isna(), known)
    return read


def read_dates(values: pd.Series, form: str) -> pd.Series:
    """Return dates of a format as ``2024-03-15``, without a time of day; what is none stays.

    Parameters
    ----------
    form
        As for :meth:`datetime.datetime.strptime`.
    """
    different = pd.Series(values.dropna().unique(), dtype=object)  # days repeat in most tables
    dates = to_dates(different, form).dt.strftime("%Y-%m-%d")
    stays = dates.isna() & ~different.isin(MISSING_NUMBERS)
    found: pd.Series = values.map(dates.where(~stays, different).set_axis(different))
    return found


def to_dates(values: pd.Series, form: str) -> pd.Series:
    """Return strings as dates; what is none of the format is missing."""
    days = values.str.strip().str.replace(_TIME_OF_DAY, "", regex=True)
    dates: pd.Series = pd.to_datetime(days, format=form, errors="coerce")
    return dates


def read_strings(path: Path, *, missing: Collection[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file, each value as the string that it is in the file.

    Raises
    ------
    CsvError, OSError
        As :func:`read_csv`.
    """
    check(path)
    frame: pd.DataFrame = pd.read_csv(path, dtype=str, na_values=["", *missing], **_AS_WRITTEN)
    return frame


_AS_WRITTEN: dict[str, Any] = {
    "index_col": False,  # otherwise the first field of a longer row becomes its name
    "skip_blank_lines": False,
    "keep_default_na": False,
    "low_memory": False,
    "encoding": "utf-8-sig",
}


def check(path: Path) -> list[str]:
    """Return the header of a CSV file, every row of which has its fields.

    Raises
    ------
    CsvError
        As :func:`read_csv`.
    OSError
        The file cannot be read.
    """
    if kind := _compression(path):
        raise CsvError(f"{path.name} is compressed ({kind}): decompress it first")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(_LONGEST_FIELD)
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            _check_header(path.name, header)
            for row in _uneven(rows, len(header)):
                raise CsvError(_uneven_row(path.name, rows.line_num, row, header))
            return header
    except UnicodeDecodeError as error:
        raise CsvError(f"{path.name} is not in UTF-8 ({error}): save it in UTF-8") from error
    except csv.Error as error:
        raise CsvError(
            f"{path.name}, line {rows.line_num}: {error}. Close every quote, and double a quote "
            f"within quotes"
        ) from error


def _compression(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    at, magic = _TAR
    if start[at : at + len(magic)] == magic:
        return "tar"
    return next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), "")


def _check_header(name: str, header: list[str]) -> None:
    if not any(header):
        raise CsvError(f"{name} has no header: name the columns in its first line, with commas")
    if len(header) == 1:
        for separator, words in _SEPARATORS.items():
            if separator in header[0]:
                raise CsvError(
                    f"{name} is separated by {words}: save it with commas, and with points in "
                    f"decimal numbers"
                )
    if all(_is_number(field) for field in header):
        raise CsvError(
            f"{name} has no header, its first line is {','.join(header)[:_SHOWN]}: name the "
            f"columns in a line before it"
        )
    unnamed = [str(place) for place, field in enumerate(header, 1) if not field.strip()]
    if unnamed:
        raise CsvError(
            f"{name}: column {', '.join(unnamed)} of the header has no name: name it, or remove "
            f"the column or the comma"
        )
    twice = sorted({field for field in header if header.count(field) > 1})
    if twice:
        raise CsvError(f"{name} has more than one column {', '.join(twice)}: rename one")


def _uneven(rows: Iterator[list[str]], count: int) -> Iterator[list[str]]:
    """Yield the rows that have another number of fields; a blank line is a row without values."""
    return itertools.filterfalse(lambda row: not row or len(row) == count, rows)


def _uneven_row(name: str, line: int, row: list[str], header: list[str]) -> str:
    more = len(row) - len(header)
    if more == 1 and not row[-1]:
        what = "it ends in a comma: remove it, or name one more column in the header"
    elif more > 0:
        what = (
            "put quotes around a value that has a comma, or name every column in the header, also "
            "one of row names"
        )
    else:
        what = "leave a missing value empty between its commas"
    return (
        f"{name}, line {line} has {len(row)} fields where the header has {len(header)} "
        f"({','.join(row)[:_SHOWN]}): {what}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
