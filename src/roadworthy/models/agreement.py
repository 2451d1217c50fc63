"""Decide whether two answers are the same: the only place that does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Column = Sequence[Any] | npt.NDArray[Any]
"""One value for each row: a number, a boolean, a string or a list."""
Columns = Mapping[str, Column]
"""Columns of one length, by the name of their field."""


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may differ and still agree. Labels and booleans must be equal.

    Numbers agree when ``|answered - expected| <= relative * |expected| + absolute``.

    Parameters
    ----------
    relative
        A fraction of the expected number: at least 0, less than 1.
    absolute
        In the unit of the answer. Zero is equal only to itself without it.

    Raises
    ------
    ValueError
        ``relative`` is out of its range, or 0 while ``absolute`` is not.
    """

    relative: float = 1e-5
    absolute: float = 0.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        bounded = 0 <= self.relative < 1 and 0 <= self.absolute < math.inf
        if not bounded or (self.absolute and not self.relative):
            raise ValueError(
                f"{self} is invalid: relative must be in [0, 1), and positive where absolute is."
            )


DEFAULT = Tolerance()


@dataclass(frozen=True)
class Agreement:
    """The greatest difference of each expected field, and what is allowed.

    Parameters
    ----------
    fields, allowed
        By the name of the field.
    exceeding
        The rows, from 0, whose difference is greater than allowed, by field, the worst first.
    rows
        How many rows were compared.
    """

    fields: Mapping[str, float]
    allowed: Mapping[str, float]
    exceeding: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rows: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every field agrees."""
        return all(found <= self.allowed[name] for name, found in self.fields.items())

    @property
    def worst(self) -> str:
        """The field that exceeds its tolerance most, or comes closest to it."""
        return max(self.fields, key=self._part_of_tolerance, default="")

    @property
    def difference(self) -> float:
        """The greatest difference of the worst field."""
        return self.fields.get(self.worst, 0.0)

    @property
    def extent(self) -> str:
        """How many rows of the worst field differ by more than allowed; empty for none."""
        rows = self.exceeding.get(self.worst, ())
        if not rows:
            return ""
        return f"{len(rows)} of {self.rows} rows exceed it, most row {rows[0]}"

    def __str__(self) -> str:
        """Return the difference, the field it is of and the tolerance."""
        if not self.fields:
            return "no field to compare"
        found, allowed = f"{self.difference:.2g}", f"{self.allowed[self.worst]:g}"
        told = f"the field {self.worst} differs by {found}, at most {allowed} is allowed"
        return f"{told}; {self.extent}" if self.extent else told

    def _part_of_tolerance(self, name: str) -> float:
        found, allowed = self.fields[name], self.allowed[name]
        if allowed:
            return found / allowed
        return math.inf if found else 0.0


def agree(
    expected: Columns, answered: Columns, tolerance: Mapping[str, Tolerance] | None = None
) -> Agreement:
    """Return how far the answers to the same rows differ, field by field.

    Parameters
    ----------
    expected, answered
        Columns of answers. A field that only ``answered`` has is not compared; one that it lacks
        differs by infinity.
    tolerance
        By field; :data:`DEFAULT` for those that are left out.
    """
    tolerances = {name: (tolerance or {}).get(name, DEFAULT) for name in expected}
    found = {
        name: differences(column, answered.get(name, ()), tolerances[name])
        for name, column in expected.items()
    }
    allowed = {name: limits.relative for name, limits in tolerances.items()}
    return Agreement(
        {
            name: float(np.max(rows, initial=0)) if name in answered else math.inf
            for name, rows in found.items()
        },
        allowed,
        {name: _exceeding(rows, allowed[name]) for name, rows in found.items()},
        max(map(len, found.values()), default=0),
    )


def _exceeding(differences: Floats, allowed: float) -> tuple[int, ...]:
    worst_first = np.argsort(-differences, kind="stable")
    return tuple(int(row) for row in worst_first if differences[row] > allowed)


def differences(expected: Column, answered: Column, tolerance: Tolerance = DEFAULT) -> Floats:
    """Return the difference of each row, [n]. It agrees when at most ``tolerance.relative``.

    For numbers it is ``|answered - expected| / (|expected| + absolute / relative)``: a relative
    difference, which zero does not make infinite where there is an absolute tolerance. It is 0 for
    equal values (infinities of one sign included), 1 for labels and booleans that differ, infinite
    where a number is NaN and where shapes or kinds differ. That of a list is its greatest.
    """
    if len(expected) != len(answered):
        return np.full(len(expected), np.inf)
    left, right = _numbers(expected), _numbers(answered)
    if left is not None and right is not None:
        if left.shape != right.shape:
            return np.full(len(left), np.inf)
        found = _of_numbers(left, right, tolerance)
        return np.max(found.reshape(len(found), -1), axis=1, initial=0) if found.ndim > 1 else found
    pairs = zip(expected, answered, strict=True)
    return np.array([_difference(one, other, tolerance) for one, other in pairs], np.float64)


def _difference(expected: Any, answered: Any, tolerance: Tolerance) -> float:
    """Return the difference of two values."""
    kind = _kind(expected)
    if kind is None or kind is not _kind(answered):
        return math.inf
    if kind is list:
        if len(expected) != len(answered):
            return math.inf
        return float(np.max(differences(expected, answered, tolerance), initial=0))
    if kind is Real:
        return float(_of_numbers(np.float64(expected), np.float64(answered), tolerance))
    return float(expected != answered)


def _of_numbers(expected: Any, answered: Any, tolerance: Tolerance) -> Floats:
    scale = np.abs(expected)
    if tolerance.absolute:
        scale = scale + tolerance.absolute / tolerance.relative
    with np.errstate(all="ignore"):
        found = np.abs(answered - expected) / scale
    # 0/0 of equal zeros and inf/inf of equal infinities are NaN, like what is no number at all.
    found = np.where(np.isnan(found), np.inf, found)
    return np.where(np.equal(expected, answered), 0.0, found).astype(np.float64)


def _numbers(column: Column) -> Floats | None:
    """Return a column of numbers, or of lists of numbers of one length, as an array."""
    if hasattr(column, "dtype"):
        array = np.asarray(column)
        return array.astype(np.float64) if array.dtype.kind in "iuf" else None
    if all(_kind(value) is Real for value in column):
        return np.array(column, np.float64)
    return None


def _kind(value: Any) -> type | None:
    """Return what a value is, so that 1 and True, or a string and a list, never agree."""
    if isinstance(value, bool | np.bool_):
        return bool
    if isinstance(value, str):
        return str
    if isinstance(value, Real):
        return Real
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return list
    return None
