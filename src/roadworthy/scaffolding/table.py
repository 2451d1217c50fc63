"""What a table holds: which columns are numbers, words or text, in which ranges."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from roadworthy.core.errors import RoadworthyError

FEWEST_ROWS = 50
"""With fewer rows neither training nor the hold-out says anything."""
MOST_CHOICES = 20
"""A column of more different words is text: it names its rows, and is not learnt from."""
_LONGEST_CHOICE = 40
_LONGEST_NAME = 30
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
# The names that a request's fields would hide from the fields after them.
_TAKEN = frozenset(("float", "int"))

Kind = Literal["number", "word", "text"]


class TableError(RoadworthyError):
    """No model can be begun with a table."""


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    kind
        Numbers; words of which there are a few; or text, which is not learnt from.
    missing
        Whether a value is missing somewhere.
    whole
        Whether every number is a whole one.
    lowest, highest
        The range of numbers, rounded outward.
    choices
        The different words, in alphabetical order.
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


@dataclass(frozen=True)
class Table:
    """What a model is begun with.

    Parameters
    ----------
    columns
        Every column in the order of the file, the target among them.
    target
        The name of the column to predict.
    example
        A row of the features, without what is missing in it.
    """

    columns: tuple[Column, ...]
    target: str
    example: dict[str, float | str]

    @property
    def answer(self) -> Column:
        """The column to predict."""
        return next(column for column in self.columns if column.name == self.target)

    @property
    def features(self) -> tuple[Column, ...]:
        """What is learnt from: numbers, then words."""
        others = [column for column in self.columns if column.name != self.target]
        return (*_of(others, "number"), *_of(others, "word"))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the features that are numbers."""
        return tuple(column.name for column in _of(self.features, "number"))

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the features that are words."""
        return tuple(column.name for column in _of(self.features, "word"))

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the columns that are not learnt from."""
        return tuple(column.name for column in _of(self.columns, "text"))

    @property
    def required(self) -> tuple[str, ...]:
        """The features that every request says: those that no row misses, or else the first."""
        whole = tuple(column.name for column in self.features if not column.missing)
        return whole or (self.features[0].name,)


def read_columns(frame: pd.DataFrame, target: str) -> Table:
    """Return what a table holds.

    Parameters
    ----------
    frame
        A row per example, every value as it stands in the file or missing.
    target
        The column to predict.

    Raises
    ------
    TableError
        A column has a name that code cannot have, the target is not there or not a number, or
        there is too little to learn from.
    """
    _check_names([str(name) for name in frame.columns], target)
    _check_target(frame[target], target)
    columns = tuple(_column(frame[name], str(name)) for name in frame.columns)
    table = Table(columns, target, example={})
    if not table.features:
        raise TableError(
            f"There is no column beside {target} to learn from: add one of numbers, or one of 2 to "
            f"{MOST_CHOICES} different words."
        )
    return Table(columns, target, _example(frame, table))


def outward(lowest: float, highest: float) -> tuple[float, float]:
    """Return a range of rounder numbers that holds another, wider by at most a tenth each way."""
    span = highest - lowest or max(abs(highest), 1.0)
    exponent = math.floor(math.log10(span)) - 1
    low, high = (
        round(bound(round(value / 10.0**exponent, 9)) * 10.0**exponent, -exponent)
        for bound, value in ((math.floor, lowest), (math.ceil, highest))
    )
    return min(low, lowest), max(high, highest)


def _of(columns: Sequence[Column], kind: Kind) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.kind == kind)


def _check_names(names: list[str], target: str) -> None:
    if odd := [name for name in names if not _is_identifier(name)]:
        told = ", ".join(f"{name!r} to {_renamed(name)}" for name in odd)
        raise TableError(
            f"These columns have names that cannot stand in code; rename them, for example {told}."
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
    """Return a name that code can have and that reads like another one."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: _LONGEST_NAME - 7]
    if not plain[:1].isalpha() or not _is_identifier(plain):
        plain = f"column_{plain}".rstrip("_")
    return plain


def _check_target(values: pd.Series, target: str) -> None:
    numbers = _numbers(values)
    if bad := _first(values, values.notna() & numbers.isna()):
        raise TableError(
            f"The column to predict, {target}, is not one of numbers: {bad}; name another, or mend "
            f"the file."
        )
    known = numbers.dropna()
    if len(known) < FEWEST_ROWS:
        raise TableError(
            f"There are {len(known)} rows with a {target}, and a model needs at least "
            f"{FEWEST_ROWS}: collect more."
        )
    if known.nunique() == 1:
        raise TableError(f"{target} is {known.iloc[0]:g} in every row: there is nothing to learn.")


def _column(values: pd.Series, name: str) -> Column:
    known = values.dropna()
    if known.empty:
        raise TableError(f"The column {name} holds no value: take it out of the file.")
    missing = len(known) < len(values)
    numbers = _numbers(known)
    share = numbers.notna().mean()
    if share == 1:
        return _number_column(name, known, numbers, missing=missing)
    if share > 0.5:
        bad = _first(known, numbers.isna())
        raise TableError(
            f"The column {name} holds a word among numbers: {bad}; leave a value that is not known "
            f"empty."
        )
    choices = tuple(sorted(set(known)))
    few = 2 <= len(choices) <= MOST_CHOICES and max(map(len, choices)) <= _LONGEST_CHOICE
    kind: Kind = "word" if few else "text"
    return Column(name, kind, missing, choices=choices if few else ())


def _number_column(name: str, known: pd.Series, numbers: pd.Series, *, missing: bool) -> Column:
    if bad := _first(known, np.isinf(numbers)):
        raise TableError(f"The column {name} holds a number that is not finite: {bad}; mend it.")
    lowest, highest = outward(float(numbers.min()), float(numbers.max()))
    whole = bool((numbers % 1 == 0).all())
    if whole:
        lowest, highest = math.floor(lowest), math.ceil(highest)
    return Column(name, "number", missing, whole, lowest, highest)


def _numbers(values: pd.Series) -> pd.Series:
    numbers: pd.Series = pd.to_numeric(values, errors="coerce").astype(np.float64)
    return numbers


def _first(values: pd.Series, wrong: pd.Series) -> str:
    """Return the first wrong value and its line in the file; an empty word if there is none."""
    if not wrong.any():
        return ""
    row: Any = wrong.idxmax()
    return f"{values[row]!r} in line {row + 2}"


def _example(frame: pd.DataFrame, table: Table) -> dict[str, float | str]:
    """Return the row with the fewest missing values, the first of them."""
    names = [column.name for column in table.features]
    fewest = int(frame[names].isna().sum(axis=1).to_numpy().argmin())
    row = frame[names].iloc[fewest].dropna()
    return {
        column.name: _value(column, row[column.name])
        for column in table.features
        if column.name in row
    }


def _value(column: Column, value: str) -> float | str:
    if column.kind == "word":
        return value
    return int(float(value)) if column.whole else float(value)
