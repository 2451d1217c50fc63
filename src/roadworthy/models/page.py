"""What a model adds to its page: examples, and a figure of its own.

The page makes its form and its answer from the schemas of ``Request`` and ``Answer``. A bundle
carries what is defined here as ``page`` in its ``profile.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Scatter:
    """Known examples as points, with the request and its answer among them.

    Parameters
    ----------
    x, y
        Fields of the request or the answer that are numbers. An interval of ``y`` (``<y>_low`` and
        ``<y>_high``) is drawn as a whisker.
    color
        The column by which points are coloured: numbers or a few labels. Empty for one colour.
    points
        The columns ``x``, ``y`` and ``color`` of the known examples, all of one length.
    """

    x: str
    y: str
    color: str
    points: Mapping[str, Sequence[float | str]]
    kind: ClassVar[str] = "scatter"


@dataclass(frozen=True)
class Series:
    """The list that was sent as a line, with the values that the answer marks.

    Parameters
    ----------
    values
        A list of numbers of the request.
    marks
        A list of the answer, as long as ``values``: true, or a number other than zero, marks.
    score, bound
        Lists of the answer: a value is marked whose score exceeds its bound. The page then has a
        slider that moves the bound. Empty for none.
    truth
        Of each example, which values should be marked: the page tells how many events, runs of
        such values, are found, how late, and how many alarms are false.
    """

    values: str
    marks: str
    score: str = ""
    bound: str = ""
    truth: Sequence[Sequence[bool]] = ()
    kind: ClassVar[str] = "series"


@dataclass(frozen=True)
class Page:
    """What a model's page shows beside its form.

    Parameters
    ----------
    examples
        Requests to start from; the first fills the form when the page opens.
    figure
        The figure, or None.
    """

    examples: Sequence[Mapping[str, Any]] = ()
    figure: Scatter | Series | None = None

    def document(self, request: type[BaseModel], answer: type[BaseModel]) -> dict[str, Any]:
        """Return the page as JSON has it.

        Raises
        ------
        ValueError
            An example is not a request, or the figure names what neither ``request`` nor
            ``answer`` has, or its columns differ in length.
        """
        for number, example in enumerate(self.examples, 1):
            try:
                request.model_validate_json(json.dumps(example))
            except ValidationError as error:
                raise ValueError(
                    f"example {number} of the page is not a request: {error}"
                ) from None
        figure = self.figure
        fields, answers = set(request.model_fields), set(answer.model_fields)
        if isinstance(figure, Scatter):
            wanted = {figure.x, figure.y, *([figure.color] if figure.color else [])}
            lengths = {len(column) for column in figure.points.values()}
            if wanted != set(figure.points) or len(lengths) != 1:
                raise ValueError(f"the points must be the columns {sorted(wanted)} of one length")
            if unknown := {figure.x, figure.y} - fields - answers:
                raise ValueError(f"the figure names {sorted(unknown)}, which no field is called")
        elif figure:
            wanted = {name for name in (figure.marks, figure.score, figure.bound) if name}
            if figure.values not in fields or wanted - answers:
                raise ValueError(
                    f"the figure needs the list {figure.values!r} in the request "
                    f"and {', '.join(sorted(wanted))} in the answer"
                )
        drawn = {"kind": figure.kind, **asdict(figure)} if figure else None
        return {"examples": [dict(example) for example in self.examples], "figure": drawn}
