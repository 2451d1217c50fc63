"""One prediction request and one answer, with units and bounds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from roadworthy.models.fields import missing_number, missing_string, number, unchanged
from roadworthy.models.fuel.units import (
    CUBIC_INCHES_PER_LITRE,
    HORSEPOWER_PER_KILOWATT,
    KILOGRAMS_PER_POUND,
)


class Request(BaseModel):
    """One car. Weight and year are needed; what else is left out is imputed from them.

    A missing number is NaN here, a missing string is empty: what the
    columns of a frame and the inputs of the ONNX graph hold.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"weight_kg": 1200, "year": 1980}},
    )

    weight_kg: Annotated[
        float,
        number(
            700,
            2400,
            "kg",
            "Weight of the car.",
            units=[{"unit": "lb", "factor": KILOGRAMS_PER_POUND}],
        ),
    ]
    year: Annotated[int, number(1970, 1982, "year", "Model year.", title="Model year")]
    cylinders: Annotated[
        int, number(3, 8, "cylinders", "Number of cylinders."), PlainSerializer(unchanged)
    ] = Field(default_factory=missing_number)
    displacement: Annotated[
        float,
        number(
            60,
            480,
            "cu in",
            "Engine displacement.",
            units=[{"unit": "l", "factor": CUBIC_INCHES_PER_LITRE}],
        ),
    ] = Field(default_factory=missing_number)
    horsepower: Annotated[
        float,
        number(
            40,
            240,
            "hp",
            "Engine power.",
            units=[{"unit": "kW", "factor": HORSEPOWER_PER_KILOWATT}],
        ),
    ] = Field(default_factory=missing_number)
    acceleration: Annotated[float, number(7, 26, "s", "Time from 0 to 60 mph.")] = Field(
        default_factory=missing_number
    )
    origin: Annotated[
        Literal["usa", "europe", "japan"],
        Field(description="Where the car was made.", json_schema_extra={"unit": "region"}),
    ] = Field(default_factory=missing_string)


class Answer(BaseModel):
    """The predicted consumption, and the interval that holds the true one for 90 % of cars."""

    l_per_100km: Annotated[float, number(0, 100, "l/100 km", "Predicted consumption.")]
    l_per_100km_low: Annotated[float, number(0, 100, "l/100 km", "Lower end of the 90 % interval.")]
    l_per_100km_high: Annotated[
        float, number(0, 100, "l/100 km", "Upper end of the 90 % interval.")
    ]
    mpg: Annotated[float, number(0, 400, "mpg", "The same, in miles per US gallon.")]
    mpg_low: Annotated[float, number(0, 400, "mpg", "Lower end of the 90 % interval.")]
    mpg_high: Annotated[float, number(0, 400, "mpg", "Upper end of the 90 % interval.")]
