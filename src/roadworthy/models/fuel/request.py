"""One prediction request and one answer, with units and bounds."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


def _number(lowest: float, highest: float, unit: str, description: str) -> Any:
    return Field(
        ge=lowest,
        le=highest,
        description=description,
        allow_inf_nan=False,
        json_schema_extra={"unit": unit},
    )


def _no_number() -> Any:
    return math.nan


def _no_word() -> Any:
    return ""


def _unchanged(value: object) -> object:
    """Let what was left out pass: not a number is no int, and pydantic would warn of it."""
    return value


class Request(BaseModel):
    """One car. Weight and year are needed; what else is left out is imputed from them.

    A number that is left out is not a number here, a word that is left out is empty: what the
    columns of a frame and the inputs of the ONNX graph hold.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"weight_kg": 1200, "year": 1980}},
    )

    weight_kg: Annotated[float, _number(700, 2400, "kg", "Weight of the car.")]
    year: Annotated[int, _number(1970, 1982, "year", "Model year.")]
    cylinders: Annotated[
        int, _number(3, 8, "cylinders", "Number of cylinders."), PlainSerializer(_unchanged)
    ] = Field(default_factory=_no_number)
    displacement: Annotated[float, _number(60, 480, "cu in", "Engine displacement.")] = Field(
        default_factory=_no_number
    )
    horsepower: Annotated[float, _number(40, 240, "hp", "Engine power.")] = Field(
        default_factory=_no_number
    )
    acceleration: Annotated[float, _number(7, 26, "s", "Time from 0 to 60 mph.")] = Field(
        default_factory=_no_number
    )
    origin: Annotated[
        Literal["usa", "europe", "japan"],
        Field(description="Where the car was made.", json_schema_extra={"unit": "region"}),
    ] = Field(default_factory=_no_word)


class Answer(BaseModel):
    """The predicted consumption, and the interval that holds the true one for 90 % of cars."""

    l_per_100km: Annotated[float, _number(0, 100, "l/100 km", "Predicted consumption.")]
    l_per_100km_low: Annotated[float, _number(0, 100, "l/100 km", "Lower end of the interval.")]
    l_per_100km_high: Annotated[float, _number(0, 100, "l/100 km", "Upper end of the interval.")]
    mpg: Annotated[float, _number(0, 400, "mpg", "The same, in miles per US gallon.")]
    mpg_low: Annotated[float, _number(0, 400, "mpg", "Lower end of the interval.")]
    mpg_high: Annotated[float, _number(0, 400, "mpg", "Upper end of the interval.")]
