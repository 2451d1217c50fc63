"""The fields of requests and answers, with bounds and units, and what stands for a missing value.

A boolean is a plain ``bool`` and a label a ``Literal`` or ``str``; :func:`number`, :func:`numbers`,
:func:`date` and :func:`image` add what a schema does not say by itself::

    class Request(BaseModel):
        window: Annotated[list[float], numbers(3, 500, "mm", "The last levels.")]
        picture: Annotated[str, image(16, 16, 1, "What the camera sees.")]
        calm: bool = False
"""

import math
from typing import Any

from pydantic import Field


def number(
    lowest: float | None, highest: float | None, unit: str, description: str, **extra: Any
) -> Any:
    """Return the field of a finite number with its unit and bounds; None is no bound.

    ``extra`` goes into the field's schema, e.g. ``title="Model year"`` for the label on the page,
    or ``units=[{"unit": "lb", "factor": 0.45359237}]`` for other units that the page offers: a
    value in one times its factor is the value in ``unit``.
    """
    return Field(
        ge=lowest,
        le=highest,
        description=description,
        allow_inf_nan=False,
        json_schema_extra={"unit": unit, **extra},
    )


def numbers(shortest: int, longest: int, unit: str, description: str, **extra: Any) -> Any:
    """Return the field of a list of numbers: of fixed length where both lengths are equal.

    Bounds of the numbers belong to the items: ``list[Annotated[float, Field(ge=0)]]``.
    """
    return Field(
        min_length=shortest,
        max_length=longest,
        description=description,
        json_schema_extra={"unit": unit, **extra},
    )


def image(
    height: int,
    width: int,
    channels: int,
    description: str,
    *,
    types: tuple[str, ...] = ("png", "jpeg"),
    max_bytes: int = 1 << 20,
    max_pixels: int = 1 << 24,
    **extra: Any,
) -> Any:
    """Return the field of an image, a base64 string in JSON.

    Parameters
    ----------
    height, width, channels
        What the model gets: a picture of another size is cropped and resized; 1 channel is grey, 3
        are red, green and blue.
    types
        The file types that are accepted.
    max_bytes, max_pixels
        The largest file, and the most pixels that it may have before it is resized.
    """
    said = {
        "height": height,
        "width": width,
        "channels": channels,
        "types": list(types),
        "max_bytes": max_bytes,
        "max_pixels": max_pixels,
    }
    schema = {"contentEncoding": "base64", "image": said, "unit": "picture", **extra}
    return Field(description=description, json_schema_extra=schema)


ISO_DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"


def date(description: str, **extra: Any) -> Any:
    """Return the field of a date, a string such as ``2024-03-15``.

    :class:`roadworthy.models.dates.Dates` makes numbers of it.
    """
    said = {"unit": "date", "format": "date", **extra}
    return Field(pattern=ISO_DATE, description=description, json_schema_extra=said)


def missing_number() -> Any:
    """Return what stands for a missing number or boolean: NaN."""
    return math.nan


def missing_string() -> Any:
    """Return what stands for a missing string: an empty one."""
    return ""


def unchanged(value: object) -> object:
    """Return a missing value as it is: NaN is no int, of which pydantic would warn."""
    return value


no_number, no_word = missing_number, missing_string  # their former names, for one release
