"""One window of values and the answer to it, with units and bounds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from roadworthy.models.fields import missing_number, number, numbers
from roadworthy.models.outliers.table import CONTEXT, STEP_S

LONGEST = 20_000
NOTES = ("ok", "constant", "gap", "other step", "lengths differ")
"""What is said of a window; of several, the last one that holds."""

_Temperature = Annotated[float, Field(ge=-200, le=400)]
_Seconds = Annotated[float, Field(ge=0, le=1e11)]


class Request(BaseModel):
    """A window of evenly spaced values, the oldest first, with or without their timestamps.

    A value is judged by those before it in the window, so the first days are its context. Where
    neither timestamps nor a step is given, the values are half an hour apart.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"values": [*[18, 19, 21, 20] * 60, 30, 19, 21, 20], "step_s": STEP_S}
        },
    )

    values: Annotated[
        list[_Temperature],
        numbers(CONTEXT + 1, LONGEST, "°C", "Temperatures, the oldest first.", title="Values"),
    ]
    timestamps: Annotated[
        list[_Seconds],
        numbers(0, LONGEST, "s", "Of each value, when: seconds since 1970 UTC.", title="Times"),
    ] = Field(default_factory=list)
    step_s: Annotated[float, number(1, 86400, "s", "From one value to the next.", title="Step")] = (
        Field(default_factory=missing_number)
    )


class Answer(BaseModel):
    """The verdict on each value of the window, in their order."""

    outlier: Annotated[
        list[bool],
        numbers(0, LONGEST, "outlier", "Whether its score exceeds the bound.", title="Outliers"),
    ]
    score: Annotated[
        list[float],
        numbers(0, LONGEST, "sd", "How unusual it is, in standard deviations; 0 if not judged."),
    ]
    bound: Annotated[list[float], numbers(0, LONGEST, "sd", "The highest score of no outlier.")]
    judged: Annotated[
        list[bool],
        numbers(
            0,
            LONGEST,
            "judged",
            "Whether it is judged: not without enough values before it, after a gap among them, or "
            "while the sensor repeats one value.",
            title="Judged",
        ),
    ]
    note: Annotated[
        Literal["ok", "constant", "gap", "other step", "lengths differ"],
        Field(description="Why some values are not judged, beside the first ones."),
    ]
