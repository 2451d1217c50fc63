"""Read the state that this program stores, also what an older or a newer version stored."""

from __future__ import annotations

from typing import Any, TypeVar

Stored = TypeVar("Stored")


def decode(kind: type[Stored], text: str | bytes) -> Stored:
    """Return the dataclass of a JSON document, with its nested ones.

    Fields that the dataclass does not have are ignored, those that the document lacks get their
    default.

    Raises
    ------
    ValueError
        A field without a default is missing, or a value is of another type. It names the first.
    """
    # The command line imports this module, and pydantic would double the time of its help.
    from pydantic import TypeAdapter, ValidationError

    try:
        found: Stored = TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    return found


def formerly(name: str, former: str) -> Any:
    """Return the annotation of a field that an older version stored under another name."""
    from pydantic import AliasChoices, Field

    return Field(validation_alias=AliasChoices(name, former))
