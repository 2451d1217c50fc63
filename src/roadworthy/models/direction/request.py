"""One prediction request and one answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from roadworthy.models.fields import number, numbers

FEWEST, MOST = 5, 260
"""How many closes a request holds."""

Price = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]


class Request(BaseModel):
    """The closes of the last trading days, from which the next one is predicted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"last_closes": [2467.7, 2488.83, 2485.74, 2506.85, 2510.0]}},
    )

    last_closes: Annotated[
        list[Price],
        numbers(
            FEWEST,
            MOST,
            "price units",
            "The last closes, the oldest first, adjusted for splits and dividends.",
            title="Last closes",
        ),
    ]


class Answer(BaseModel):
    """The probability that the next close is above the last one, and the call that it gives."""

    next_close: Annotated[
        Literal["UP", "DOWN"],
        Field(description="UP where the probability of UP is above 0.5."),
    ]
    probability_up: Annotated[
        float, number(0, 1, "probability of UP", "How probable a higher close is.")
    ]
