"""What a table holds: its columns, and whether its target is a number or a class."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.tables import BOOLEANS, MISSING_NUMBERS, read_booleans, read_dates, to_dates
from roadworthy.scaffolding import naming

FEWEST_ROWS = 50
"""Below that neither training nor the hold-out is meaningful."""
MOST_CHOICES = 20
"""A column of more different strings is text, which is not a feature; a class is one of as many."""
_LARGEST = 1e100
"""The square of a larger number may be infinite."""
_MOST_WHOLE_CLASSES = 10
_FEWEST_IN_CLASS = 10
_LONGEST_CHOICE = 40
_SHOWN = 20
_EXACT = 1e-9
_MOSTLY = 0.95
"""From this part on, a column is one of numbers and a string in it a mistake; with fewer numbers it
holds codes, some of which look like numbers."""
# 15,400 and 15.400,50 and 15'400; 15.4 %; $3 and 3 EUR; 15,4
_PRINTED_NUMBER = re.compile(
    r"([$€£¥]|[A-Z]{3})?\s?[-+]?\d{1,3}(([,.'\s]\d{3})+([.,]\d+)?|\d*([.,]\d+)?)\s?"
    r"([%‰$€£¥]|[A-Z]{3})?"
)
_CODE = re.compile(r"0\d+")  # a leading zero, which a number has not
_NAMED_ID = re.compile(r"(^|_)(id|uid|uuid|guid)$")
_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y"),
    "%Y-%m",
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y"),
)
_COMPACT = "%Y%m%d"
"""Such dates look like numbers, so the column's name must say what they are."""
_NAMED_DATE = re.compile(r"(^|_)(date|day)(_|$)")
_SWAPPED = str.maketrans("dm", "md")
_TRIED = 200
"""How many values of a column decide which formats of dates come into question."""

Kind = Literal["number", "boolean", "date", "string", "unused"]
Task = Literal["regression", "classification"]


class TableError(RoadworthyError):
    """A model cannot be started from a table."""


@dataclass(frozen=True)
class Roles:
    """What the user says of columns, by their names in the file.

    Parameters
    ----------
    ignore
        Columns that are not learnt from.
    identifier
        The column that says what a row is about; found by itself where it is empty.
    text
        Columns of prose, which are not learnt from either.
    """

    ignore: Sequence[str] = ()
    identifier: str = ""
    text: Sequence[str] = ()


NO_ROLES = Roles()


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    kind
        Numbers, booleans, dates, strings out of a few, or not learnt from.
    missing
        Whether it has missing values.
    whole
        Whether all numbers are whole.
    lowest, highest
        The range of numbers, with room for those to come.
    choices
        The different strings, sorted.
    form
        The format of dates, for :meth:`datetime.datetime.strptime`.
    unit
        The unit in its name, 1 for none.
    reason
        Why it is not learnt from.
    """

    name: str
    kind: Kind
    missing: bool
    whole: bool = False
    lowest: float = math.nan
    highest: float = math.nan
    choices: tuple[str, ...] = ()
    form: str = ""
    unit: str = "1"
    reason: str = ""


class Choice(NamedTuple):
    """A task, and why it was chosen."""

    task: Task
    reason: str


@dataclass(frozen=True)
class Table:
    """What a model is started from.

    Parameters
    ----------
    columns
        Every column in the order of the file, the target included.
    target
        The column to predict.
    chosen
        Whether it is a number or a class.
    example
        The features of one row, without its missing values.
    identifier
        The column that says what a row is about, empty for none.
    key
        The identifier, where no two rows have the same.
    headers
        The name in the code of each column that has another one in the file.
    """

    columns: tuple[Column, ...]
    target: str
    chosen: Choice
    example: dict[str, float | str | bool] = field(default_factory=dict)
    identifier: str = ""
    key: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """Whether the target is a number or a class."""
        return self.chosen.task

    @property
    def answer(self) -> Column:
        """The column to predict."""
        return next(column for column in self.columns if column.name == self.target)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to learn from: numbers, booleans, dates, then strings."""
        kinds: tuple[Kind, ...] = ("number", "boolean", "date", "string")
        return tuple(
            column
            for kind in kinds
            for column in self.columns
            if column.kind == kind and column.name != self.target
        )

    @property
    def width(self) -> int:
        """How many numbers the features of one row become."""
        widths = {"number": 1, "boolean": 1, "date": 5}
        return sum(widths.get(of.kind, len(of.choices)) for of in self.features)

    @property
    def required(self) -> tuple[str, ...]:
        """The features without missing values, or else the first: every request has them."""
        complete = tuple(column.name for column in self.features if not column.missing)
        return complete or (self.features[0].name,)

    @property
    def probabilities(self) -> dict[str, str]:
        """The class of each field of the answer that is a probability."""
        taken = {column.name for column in self.columns}
        fields: dict[str, str] = {}
        for choice in self.answer.choices:
            plain = re.sub(r"[^a-z0-9]+", "_", choice.lower()).strip("_") or "other"
            name = f"probability_{plain}"
            while name in taken | set(fields):
                name += "_"
            fields[name] = choice
        return fields

    @property
    def dates(self) -> dict[str, str]:
        """The format of each feature that is a date."""
        return {of.name: of.form for of in self.columns if of.kind == "date"}

    def named(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of the columns of a kind, without the target."""
        return tuple(of.name for of in self.columns if of.kind == kind and of.name != self.target)


def read_columns(
    frame: pd.DataFrame, target: str, task: Task | None = None, roles: Roles = NO_ROLES
) -> Table:
    """Return what a table holds.

    Parameters
    ----------
    frame
        A row per example; each value is the string of the file, or missing.
    target
        The column to predict, by its name in the file or in the code.
    task
        Whether to predict a number or a class. By default the target decides: strings and at most
        10 different whole numbers of 10 rows each are classes.
    roles
        Columns that are not features.

    Raises
    ------
    TableError
        A column that is named is not there or cannot be read, the target does not fit the task, or
        the table is too small to learn from.
    """
    headers = naming.names([str(name) for name in frame.columns])
    frame = frame.set_axis(list(headers.values()), axis=1)
    target = _find(target, headers, "to predict")
    told = _reasons(roles, headers)
    if target in told:
        raise TableError(f"{target} is to be predicted: do not name it with {told[target]}.")
    known = frame[target][~_is_missing(frame[target])]
    if len(known) < FEWEST_ROWS:
        raise TableError(
            f"There are {len(known)} rows with a {target}, and a model needs at least "
            f"{FEWEST_ROWS}: collect more."
        )
    if known.nunique() == 1:
        raise TableError(f"{target} is {known.iloc[0]} in every row: there is nothing to learn.")
    chosen = Choice(task, "as --task says") if task else _choose(known, target)
    identifier = _identifier(frame.drop(columns=[target, *told]), roles, headers)
    if identifier:
        told[identifier] = "it identifies rows"
    units = {name: naming.unit(header) for header, name in headers.items()}
    columns = tuple(
        _classes(frame[name], target)
        if name == target and chosen.task == "classification"
        else _unused(frame[name], told[name])
        if name in told
        else _column(frame[name], name, units[name], is_target=name == target)
        for name in headers.values()
    )
    unique = bool(identifier) and frame[identifier].is_unique and frame[identifier].notna().all()
    renamed = {header: name for header, name in headers.items() if header != name}
    table = Table(
        columns,
        target,
        chosen,
        identifier=identifier,
        key=(identifier,) if unique else (),
        headers=renamed,
    )
    if not table.features:
        unused = "".join(f"; {of.name}: {of.reason}" for of in columns if of.reason)
        raise TableError(
            f"There is no column beside {target} to learn from{unused}. Add one of numbers, "
            f"booleans or dates, or one of 2 to {MOST_CHOICES} different strings."
        )
    return replace(table, example=_example(frame, table))


def determined_by(frame: pd.DataFrame, table: Table) -> tuple[str, ...]:
    """Return the columns that give the target away, which a request may not know; mostly none.

    They are the columns of numbers whose linear combination is the target in every row, or one of a
    few values each of which has one class.

    Parameters
    ----------
    frame
        As for :func:`read_columns`.
    """
    headers = naming.names([str(name) for name in frame.columns])
    frame = frame.set_axis(list(headers.values()), axis=1)
    if table.task == "classification":
        known = frame.dropna(subset=[table.target])
        found = [of.name for of in table.features if _decides(known[of.name], known[table.target])]
        return tuple(found[:1])
    names = list(table.named("number"))
    numbers = frame[[*names, table.target]].apply(_numbers).dropna()
    if len(numbers) <= len(names) + 1:
        return ()
    features = np.column_stack([numbers[names], np.ones(len(numbers))])
    target = numbers[table.target].to_numpy()
    factors = np.linalg.lstsq(features, target, rcond=None)[0]
    scale = np.abs(target).max()
    if np.abs(features @ factors - target).max() > _EXACT * scale:
        return ()
    effect = np.abs(factors[:-1]) * np.abs(numbers[names]).max().to_numpy()
    return tuple(name for name, size in zip(names, effect, strict=True) if size > _EXACT * scale)


def _decides(values: pd.Series, target: pd.Series) -> bool:
    if values.isna().any() or values.nunique() > MOST_CHOICES:
        return False
    return bool((target.groupby(values).nunique() == 1).all())


def outward(lowest: float, highest: float) -> tuple[float, float]:
    """Return a range of rounder numbers that holds another, wider by at most a tenth each way."""
    span = highest - lowest or max(abs(highest), 1.0)
    exponent = math.floor(math.log10(span)) - 1
    low, high = (
        round(bound(round(value / 10.0**exponent, 9)) * 10.0**exponent, -exponent)
        for bound, value in ((math.floor, lowest), (math.ceil, highest))
    )
    return min(low, lowest), max(high, highest)


def roomy(lowest: float, highest: float) -> tuple[float, float]:
    """Return a range with room for values to come: a quarter each way, but no change of sign."""
    room = (highest - lowest or abs(highest) or 1.0) / 4
    low, high = outward(lowest - room, highest + room)
    return (max(low, 0.0) if lowest >= 0 else low), (min(high, 0.0) if highest <= 0 else high)


def _choose(known: pd.Series, target: str) -> Choice:
    numbers, different = _numbers(known), known.nunique()
    if numbers.isna().mean() > 0.5:
        return Choice("classification", f"{target} holds strings, {different} different ones")
    enough = known.value_counts().min() >= _FEWEST_IN_CLASS
    whole = numbers.notna().all() and (numbers % 1 == 0).all()
    if whole and enough and different <= _MOST_WHOLE_CLASSES:
        return Choice("classification", f"{target} holds only {different} different whole numbers")
    return Choice("regression", f"{target} holds numbers")


def _find(name: str, headers: Mapping[str, str], purpose: str) -> str:
    """Return the name in the code of a column that the user names."""
    if name in headers:
        return headers[name]
    if name in headers.values():
        return name
    raise TableError(
        f"There is no column {name!r} {purpose}: name one of {', '.join(list(headers)[:_SHOWN])}"
        f"{' ...' if len(headers) > _SHOWN else ''}."
    )


def _reasons(roles: Roles, headers: Mapping[str, str]) -> dict[str, str]:
    """Return why each column that the user names is not learnt from."""
    ignored = {_find(name, headers, "to ignore"): "--ignore" for name in roles.ignore}
    return ignored | {_find(name, headers, "of text"): "--text" for name in roles.text}


def _identifier(frame: pd.DataFrame, roles: Roles, headers: Mapping[str, str]) -> str:
    """Return the column that says what a row is about, or nothing.

    It is a complete column without repetition that is named so, or that numbers the rows.
    """
    if roles.identifier:
        return _find(roles.identifier, headers, "that identifies rows")
    unique = [name for name in frame if frame[name].is_unique and frame[name].notna().all()]
    for name in map(str, unique):
        if _NAMED_ID.search(name) and _is_whole(frame[name]):
            return name
    for name in map(str, unique):
        numbers = _numbers(frame[name])
        if numbers.iloc[0] in (0, 1) and (numbers.diff().iloc[1:] == 1).all():
            return name
        codes = frame[name].str.fullmatch(r"\S*\d\S*").all() and numbers.isna().all()
        if codes and frame[name].is_monotonic_increasing and _date_format(frame[name], name) == "":
            return name
    return ""


def _is_whole(values: pd.Series) -> bool:
    """Return whether the values are strings, or whole numbers."""
    return bool((_numbers(values).fillna(0) % 1 == 0).all())


def _classes(values: pd.Series, target: str) -> Column:
    rows = values.dropna().value_counts()
    if _date_format(values.dropna(), target):
        raise TableError(
            f"{target} holds dates, which no model predicts: add a column with the days until then."
        )
    if len(rows) > MOST_CHOICES:
        raise TableError(
            f"{target} has {len(rows)} different values, and a classifier takes 2 to "
            f"{MOST_CHOICES}: join some, or predict a number with --task regression."
        )
    if rows.min() < _FEWEST_IN_CLASS:
        raise TableError(
            f"The class {rows.idxmin()!r} of {target} has {rows.min()} rows, and each needs at "
            f"least {_FEWEST_IN_CLASS}: collect more, or join it with another."
        )
    missing = bool(values.isna().any())
    return Column(target, "string", missing, choices=tuple(sorted(map(str, rows.index))))


def _unused(values: pd.Series, reason: str) -> Column:
    return Column(str(values.name), "unused", bool(values.isna().any()), reason=reason)


def _column(values: pd.Series, name: str, unit: str, *, is_target: bool) -> Column:
    known = values[~_is_missing(values)]
    missing = len(known) < len(values)
    # Without the spellings of missing, which are strings like any other among strings.
    if known.nunique() < 2 and (values.dropna().nunique() < 2 or _numbers(known).notna().all()):
        return _unused(values, "it is the same in every row" if len(known) else "it has no value")
    if not is_target:
        if set(known.str.strip().str.lower()) <= set(BOOLEANS) and _is_pair(known):
            return Column(name, "boolean", missing)
        if form := _date_format(known, name):
            return Column(name, "date", missing, form=form)
    numbers = _numbers(known)
    _check_plain(known[numbers.isna()], name, of=len(known))
    if is_target or (numbers.notna().mean() >= _MOSTLY and not known.str.fullmatch(_CODE).any()):
        _refuse(numbers.isna(), known, f"The column {name} holds a string among numbers")
        _refuse(np.isinf(numbers), known, f"The column {name} holds a number that is not finite")
        _refuse(numbers.abs() > _LARGEST, known, f"The column {name} holds too large a number")
        lowest, highest = roomy(float(numbers.min()), float(numbers.max()))
        whole = bool((numbers % 1 == 0).all())
        if whole:
            lowest, highest = math.floor(lowest), math.ceil(highest)
        return Column(name, "number", missing, whole, lowest, highest, unit=unit)
    return _strings(values, name)


def _strings(values: pd.Series, name: str) -> Column:
    known = values.dropna()
    choices = tuple(sorted(set(known)))
    if len(choices) > MOST_CHOICES:
        return _unused(values, f"it has {len(choices)} different strings")
    if max(map(len, choices)) > _LONGEST_CHOICE:
        return _unused(values, "it holds text")
    return Column(name, "string", len(known) < len(values), choices=choices)


def _is_pair(known: pd.Series) -> bool:
    """Return whether booleans are written in one way: true and false, yes and no, y and n."""
    words = sorted(set(known.str.strip().str.lower()))
    return words in (["false", "true"], ["no", "yes"], ["n", "y"], ["f", "t"])


def _date_format(known: pd.Series, name: str) -> str:
    """Return the format of a column of dates, nothing for another column.

    Raises
    ------
    TableError
        Day and month could be either, or a few values are no dates.
    """
    forms = (*_FORMATS, _COMPACT) if _NAMED_DATE.search(name) else _FORMATS
    some, days = known.head(_TRIED), pd.Series(known.unique(), dtype=object)
    parts = {
        form: to_dates(days, form).notna().mean()
        for form in forms
        if to_dates(some, form).notna().mean() >= _MOSTLY
    }
    best = max(parts.values(), default=0)
    if best < _MOSTLY:
        return ""
    found = [form for form, part in parts.items() if part == best]
    if set(found) & {form.translate(_SWAPPED) for form in found}:
        row: Any = known.index[0]
        raise TableError(
            f"Day and month of the dates in the column {name} could be either, {known[row]!r} in "
            f"line {row + 2}: write them as 2024-03-15, or leave the column out with --ignore."
        )
    wrong = days[to_dates(days, found[0]).isna()]
    _refuse(known.isin(wrong), known, f"The column {name} holds a string among dates")
    return found[0]


def _refuse(wrong: pd.Series, known: pd.Series, problem: str) -> None:
    """Refuse the first wrong value, with its line."""
    if wrong.any():
        row: Any = wrong.idxmax()
        raise TableError(
            f"{problem}: {known[row]!r} in line {row + 2}; fix it, leave an unknown value empty, "
            f"or leave the column out with --ignore."
        )


def _is_missing(values: pd.Series) -> pd.Series:
    """Return which values are missing if the column is not one of strings."""
    missing: pd.Series = values.isna() | values.isin(MISSING_NUMBERS)
    return missing


def _check_plain(strings: pd.Series, name: str, *, of: int) -> None:
    """Check that a column does not hold numbers as they are printed for people.

    Raises
    ------
    TableError
        More than half of its values are such numbers. It names the first.
    """
    printed = strings[strings.str.fullmatch(_PRINTED_NUMBER)]
    if len(printed) > of / 2:
        row: Any = printed.index[0]
        raise TableError(
            f"The column {name} holds numbers with separators or units, {printed[row]!r} in line "
            f"{row + 2}: write plain numbers with a decimal point, such as 15400 or 0.154, or "
            f"leave the column out with --ignore."
        )


def _numbers(values: pd.Series) -> pd.Series:
    numbers: pd.Series = pd.to_numeric(values, errors="coerce").astype(np.float64)
    return numbers


def _example(frame: pd.DataFrame, table: Table) -> dict[str, float | str | bool]:
    """Return the first of the rows with the fewest missing values."""
    typed = frame[[column.name for column in table.features]].copy()
    for column in table.features:
        values = typed[column.name]
        if column.kind == "date":
            typed[column.name] = read_dates(values, column.form)
        elif column.kind == "boolean":
            typed[column.name] = read_booleans(values)
        elif column.kind == "number":
            typed[column.name] = _numbers(values)
    row = typed.iloc[int(typed.isna().sum(axis=1).to_numpy().argmin())]
    types: dict[Kind, Any] = {"boolean": bool, "number": float, "date": str, "string": str}
    return {
        column.name: int(row[column.name]) if column.whole else types[column.kind](row[column.name])
        for column in table.features
        if pd.notna(row[column.name])
    }
