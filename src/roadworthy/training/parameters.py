"""Other parameters for a model's candidates, as a user writes them: ``ridge.alpha=3``."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Candidate
from roadworthy.training.selection import named


class ParameterError(RoadworthyError):
    """A parameter cannot be changed."""


@dataclass(frozen=True)
class Change:
    """Another value for a parameter of a candidate. Get one from :func:`parse`."""

    candidate: str
    parameter: str
    value: Any


def parse(text: str) -> Change:
    """Return the change that ``CANDIDATE.PARAMETER=VALUE`` describes.

    A value is JSON, e.g. ``1e-3``, ``true`` or ``[1, 2]``; anything else is a string.

    Raises
    ------
    ParameterError
        The text has another form.
    """
    name, is_written, value = text.partition("=")
    candidate, _, parameter = name.strip().partition(".")
    if not (candidate and parameter and is_written):
        raise ParameterError(
            f"{text!r} changes no parameter: write CANDIDATE.PARAMETER=VALUE, e.g. ridge.alpha=3."
        )
    try:
        return Change(candidate, parameter, json.loads(value))
    except ValueError:
        return Change(candidate, parameter, value)


def changed(candidates: Sequence[Candidate], changes: Sequence[Change]) -> tuple[Candidate, ...]:
    """Return the candidates with changed parameters.

    A parameter is named as scikit-learn does it, e.g. ``point__regressor__alpha``, or by its last
    part, ``alpha``, where only one ends so.

    Raises
    ------
    NoCandidateError
        There is no such candidate.
    ParameterError
        The candidate has no such parameter, or several.
    """
    found = {candidate.name: candidate for candidate in candidates}
    for change in changes:
        found[change.candidate] = _changed(named(tuple(found.values()), change.candidate), change)
    return tuple(found.values())


def _changed(candidate: Candidate, change: Change) -> Candidate:
    known: Mapping[str, Any] = getattr(candidate.estimator, "get_params", dict)()
    ending = f"__{change.parameter}"
    fitting = [name for name in known if name == change.parameter or name.endswith(ending)]
    if len(fitting) != 1:
        has = "has several" if fitting else "has no"
        names = fitting or sorted({name.rpartition("__")[2] for name in known} - set(known))
        raise ParameterError(
            f"{candidate.name} {has} parameter {change.parameter!r}: name one of "
            f"{', '.join(names or known) or 'another candidate, as this one has none'}."
        )
    estimator = copy.deepcopy(candidate.estimator).set_params(**{fitting[0]: change.value})
    told = {**candidate.parameters, change.parameter.rpartition("__")[2]: change.value}
    return replace(candidate, estimator=estimator, parameters=told)
