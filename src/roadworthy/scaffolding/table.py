"""What a table holds: its columns, and whether its target is a number or a class."""

from __future__ import annotations

import keyword
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.tables import MISSING_NUMBERS

FEWEST_ROWS = 50
"""Below that neither training nor the hold-out is meaningful."""
MOST_CHOICES = 20
"""A column of more different strings is text, which is not a feature; a class is one of as many."""
_MOST_WHOLE_CLASSES = 10
_FEWEST_IN_CLASS = 10
_LONGEST_CHOICE = 40
_LONGEST_NAME = 30
_EXACT = 1e-9
_MOSTLY = 0.95
"""From this part on, a column is one of numbers and a string in it a mistake; with fewer numbers it
holds codes, some of which look like numbers."""
# 15,400 and 15.400,50 and 15'400; 15.4 %; $3 and 3 EUR; 15,4
_PRINTED_NUMBER = re.compile(
    r"([$€£¥]|[A-Z]{3})?\s?[-+]?\d{1,3}(([,.'\s]\d{3})+([.,]\d+)?|\d*([.,]\d+)?)\s?"
    r"([%‰$€£¥]|[A-Z]{3})?"
)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
# Names that would hide a type from the fields after them.
_TAKEN = frozenset(("float", "int"))

Kind = Literal["number", "string", "text"]
Task = Literal["regression", "classification"]


class TableError(RoadworthyError):
    """A model cannot be started from a table."""


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    kind
        Numbers, strings out of a few, or text, which is not a feature.
    missing
        Whether it has missing values.
    whole
        Whether all numbers are whole.
    lowest, highest
        The range of numbers, rounded outward.
    choices
        The different strings, sorted.
    """

    name: str
    kind: Kind
    missing: bool
    whole: bool = False
    lowest: float = math.nan
    highest: float = math.nan
    choices: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The last part of its name, as in ``length_m``; 1 where its name has one part only."""
        return self.name.rpartition("_")[2] if "_" in self.name.strip("_") else "1"


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
    """

    columns: tuple[Column, ...]
    target: str
    chosen: Choice
    example: dict[str, float | str]

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
        """The columns to learn from: numbers, then strings."""
        order = {"number": 0, "string": 1}
        found = [of for of in self.columns if of.name != self.target and of.kind in order]
        return tuple(sorted(found, key=lambda column: order[column.kind]))

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

    def named(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of the columns of a kind, without the target."""
        return tuple(of.name for of in self.columns if of.kind == kind and of.name != self.target)


def read_columns(frame: pd.DataFrame, target: str, task: Task | None = None) -> Table:
    """Return what a table holds.

    Parameters
    ----------
    frame
        A row per example; each value is the string of the file, or missing.
    target
        The column to predict.
    task
        Whether to predict a number or a class. By default the target decides: strings and at most
        10 different whole numbers of 10 rows each are classes.

    Raises
    ------
    TableError
        A column has a name that is not an identifier, the target does not fit the task, or the
        table is too small to learn from.
    """
    _check_names([str(name) for name in frame.columns], target)
    known = frame[target][~_is_missing(frame[target])]
    if len(known) < FEWEST_ROWS:
        raise TableError(
            f"There are {len(known)} rows with a {target}, and a model needs at least "
            f"{FEWEST_ROWS}: collect more."
        )
    if known.nunique() == 1:
        raise TableError(f"{target} is {known.iloc[0]} in every row: there is nothing to learn.")
    chosen = Choice(task, "as --task says") if task else _choose(known, target)
    columns = tuple(
        _classes(frame[name], target)
        if name == target and chosen.task == "classification"
        else _column(frame[name], str(name), must_be_number=name == target)
        for name in frame.columns
    )
    table = Table(columns, target, chosen, example={})
    if not table.features:
        raise TableError(
            f"There is no column beside {target} to learn from: add one of numbers, or one of 2 to "
            f"{MOST_CHOICES} different strings."
        )
    numbers = [column.name for column in columns if column.kind == "number"]
    cleared = frame.assign(**{name: frame[name].mask(_is_missing(frame[name])) for name in numbers})
    return Table(columns, target, chosen, _example(cleared, table))


def determined_by(frame: pd.DataFrame, table: Table) -> tuple[str, ...]:
    """Return the columns that give the target away, which a request may not know; mostly none.

    They are the columns of numbers whose linear combination is the target in every row, or one of
    strings each of which has one class.
    """
    if table.task == "classification":
        known = frame.dropna(subset=[table.target])
        found = [
            name for name in table.named("string") if _decides(known[name], known[table.target])
        ]
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
    return bool((target.groupby(values).nunique() == 1).all() and values.notna().all())


def outward(lowest: float, highest: float) -> tuple[float, float]:
    """Return a range of rounder numbers that holds another, wider by at most a tenth each way."""
    span = highest - lowest or max(abs(highest), 1.0)
    exponent = math.floor(math.log10(span)) - 1
    low, high = (
        round(bound(round(value / 10.0**exponent, 9)) * 10.0**exponent, -exponent)
        for bound, value in ((math.floor, lowest), (math.ceil, highest))
    )
    return min(low, lowest), max(high, highest)


def _choose(known: pd.Series, target: str) -> Choice:
    numbers, different = _numbers(known), known.nunique()
    if numbers.isna().mean() > 0.5:
        return Choice("classification", f"{target} holds strings, {different} different ones")
    enough = known.value_counts().min() >= _FEWEST_IN_CLASS
    whole = numbers.notna().all() and (numbers % 1 == 0).all()
    if whole and enough and different <= _MOST_WHOLE_CLASSES:
        return Choice("classification", f"{target} holds only {different} different whole numbers")
    return Choice("regression", f"{target} holds numbers")


def _check_names(names: list[str], target: str) -> None:
    if odd := [name for name in names if not _is_identifier(name)]:
        renamed = ", ".join(f"{name!r} to {_renamed(name)}" for name in odd)
        raise TableError(
            f"These columns have names that cannot stand in code; rename them, for example "
            f"{renamed}."
        )
    if target not in names:
        raise TableError(
            f"There is no column {target!r} to predict: name one of {', '.join(names)}."
        )


def _is_identifier(name: str) -> bool:
    return (
        _IDENTIFIER.fullmatch(name) is not None
        and len(name) <= _LONGEST_NAME
        and not keyword.iskeyword(name)
        and name not in _TAKEN
        and not name.startswith("model_")
        and not hasattr(BaseModel, name)
    )


def _renamed(name: str) -> str:
    """Return an identifier that reads like a name."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: _LONGEST_NAME - 7]
    return plain if _is_identifier(plain) else f"column_{plain}".rstrip("_")


def _classes(values: pd.Series, target: str) -> Column:
    rows = values.dropna().value_counts()
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


def _column(values: pd.Series, name: str, *, must_be_number: bool) -> Column:
    known = values[~_is_missing(values)]
    if known.empty:
        raise TableError(f"The column {name} holds no value: remove it from the file.")
    numbers = _numbers(known)
    _check_plain(known[numbers.isna()], name, of=len(known))
    if must_be_number or numbers.notna().mean() >= _MOSTLY:
        for wrong, problem in (
            (numbers.isna(), "a string among numbers"),
            (np.isinf(numbers), "a number that is not finite"),
        ):
            if wrong.any():
                row: Any = wrong.idxmax()
                raise TableError(
                    f"The column {name} holds {problem}: {known[row]!r} in line {row + 2}; fix it, "
                    f"or leave an unknown value empty."
                )
        missing = len(known) < len(values)
        lowest, highest = outward(float(numbers.min()), float(numbers.max()))
        whole = bool((numbers % 1 == 0).all())
        if whole:
            lowest, highest = math.floor(lowest), math.ceil(highest)
        return Column(name, "number", missing, whole, lowest, highest)
    known = values.dropna()
    missing = len(known) < len(values)
    choices = tuple(sorted(set(known)))
    few = 2 <= len(choices) <= MOST_CHOICES and max(map(len, choices)) <= _LONGEST_CHOICE
    return Column(name, "string" if few else "text", missing, choices=choices if few else ())


def _is_missing(values: pd.Series) -> pd.Series:
    """Return which values are missing if the column is one of numbers."""
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
            f"remove the column."
        )


def _numbers(values: pd.Series) -> pd.Series:
    numbers: pd.Series = pd.to_numeric(values, errors="coerce").astype(np.float64)
    return numbers


def _example(frame: pd.DataFrame, table: Table) -> dict[str, float | str]:
    """Return the first of the rows with the fewest missing values."""
    names = [column.name for column in table.features]
    fewest = int(frame[names].isna().sum(axis=1).to_numpy().argmin())
    row = frame[names].iloc[fewest].dropna()
    types = {column.name: (int if column.whole else float) for column in table.features}
    strings = table.named("string")
    return {
        name: row[name] if name in strings else types[name](float(row[name]))
        for name in names
        if name in row
    }
