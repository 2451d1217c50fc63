"""GET addresses that the server answers with a prediction, as data that a bundle carries.

A string in a route's request or answer that is wholly ``"{namespace.name}"`` is a reference; all
other values are constants:

=====================  =====================================================================
``{query.NAME}``       the query parameter, or its default
``{answer.FIELD}``     a field of the answer
``{latest.as_of}``     when the latest request holds, and the latest request's other facts
``{model.version}``    the version that answers; also ``model.name`` and ``model.alias``
=====================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Value = int | float | bool | str

_PATH = re.compile(r"(/[A-Za-z0-9_-]+)+")
_RESERVED = ("v1", "v2", "metrics")
_REFERENCE = re.compile(r"\{(query|answer|latest|model)\.(\w+)\}")
_OF_MODEL = ("name", "version", "alias")


@dataclass(frozen=True)
class Choice:
    """One of two values, chosen by a number of the answer.

    Parameters
    ----------
    field
        The field of the answer.
    above
        The number, or a reference to one, that the field must exceed.
    then, otherwise
        The value if it does, and if it does not.
    """

    field: str
    above: int | float | str
    then: Value
    otherwise: Value


@dataclass(frozen=True)
class Route:
    """A GET address of the server that a model answers.

    Parameters
    ----------
    path
        E.g. ``"/predictionForTomorrow"``.
    request
        ``"latest"`` for the newest request that is known, or a mapping from the request's fields to
        constants and references.
    answer
        A constant, a reference or a choice for each key of the response. Where it is empty, the
        response has all fields of the answer.
    parameters
        The JSON schema of each query parameter, with its bounds. One with a default is optional.
    description
        For people.

    Raises
    ------
    ValueError
        The path is not a path, or is one of the server's own.
    """

    path: str
    request: Literal["latest"] | Mapping[str, Any] = "latest"
    answer: Mapping[str, Value | Choice] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or self.path.split("/")[1] in _RESERVED:
            raise ValueError(
                f"The route {self.path!r} is not a path of its own. Begin it with a slash, use "
                f"letters, digits, _ and - only, and none of /{', /'.join(_RESERVED)}."
            )

    @property
    def needs_latest(self) -> bool:
        """Whether it is answered only where the newest request is known."""
        return self.request == "latest" or any(
            namespace == "latest" for namespace, _ in self._references()
        )

    def check(self, request: Container[str], answer: Container[str]) -> None:
        """Check that what it refers to exists.

        Parameters
        ----------
        request, answer
            The names of the fields.

        Raises
        ------
        ValueError
            A field or a query parameter does not exist.
        """
        known = {"query": self.parameters, "answer": answer, "model": _OF_MODEL}
        fields = () if isinstance(self.request, str) else self.request
        unknown = [f"the field {name} of the request" for name in fields if name not in request]
        unknown += [
            f"{{{namespace}.{name}}}"
            for namespace, name in self._references()
            if namespace in known and name not in known[namespace]
        ]
        if unknown:
            raise ValueError(f"The route {self.path} refers to {unknown[0]}, which does not exist.")

    def _references(self) -> Iterator[tuple[str, str]]:
        values = list(self.answer.values())
        choices = [value for value in values if isinstance(value, Choice)]
        yield from (("answer", choice.field) for choice in choices)
        values += [choice.above for choice in choices]
        values += [] if isinstance(self.request, str) else self.request.values()
        for value in values:
            if isinstance(value, str) and (found := _REFERENCE.fullmatch(value)):
                yield found[1], found[2]


@dataclass(frozen=True)
class Latest:
    """The newest request that is known, published whenever new data was ingested.

    Parameters
    ----------
    request
        A request of the model.
    as_of
        The date, or the date and time, of the data that it is made from, in ISO 8601.
    expires
        When newer data should be there. From then on, responses say how old it is.
    facts
        More values that a route may refer to.

    Raises
    ------
    ValueError
        A time is not in ISO 8601.
    """

    request: Mapping[str, Any]
    as_of: str
    expires: str = ""
    facts: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for time in filter(None, (self.as_of, self.expires)):
            _time(time)

    def staleness(self, now: datetime) -> str:
        """Return a sentence with the age of data that has expired, otherwise an empty string."""
        if not self.expires or now < _time(self.expires):
            return ""
        age = now - _time(self.as_of)
        hours = int(age.total_seconds() // 3600)
        old = f"{age.days} days" if age.days > 1 else f"{hours} hours"
        return f"The latest data is of {self.as_of}, {old} old."


def resolve(value: Any, known: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return a constant, what a reference refers to, or what a choice chooses.

    Parameters
    ----------
    value
        A value of a route's request or answer.
    known
        The values by namespace and name. A name that is not there is None.
    """
    if isinstance(value, Choice):
        exceeds = known["answer"][value.field] > resolve(value.above, known)
        return value.then if exceeds else value.otherwise
    if isinstance(value, str) and (found := _REFERENCE.fullmatch(value)):
        return known[found[1]].get(found[2])
    return value


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
