"""Read settings from the environment; an error names the variable."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from roadworthy.core.errors import RoadworthyError

_Kind = TypeVar("_Kind", bound=BaseSettings)


class SettingsError(RoadworthyError):
    """A setting has an invalid value."""


def from_environment(kind: type[_Kind], public: Collection[str] = frozenset()) -> _Kind:
    """Return the settings of the environment.

    Parameters
    ----------
    public
        The fields whose values may be shown.

    Raises
    ------
    SettingsError
        A variable has an invalid value.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix", ""))
        told = "; ".join(_told(found, prefix, public) for found in error.errors(include_url=False))
        # Whoever looked at where it comes from would see the value of a secret.
        raise SettingsError(f"{told}. Set it to something else, or unset it.") from None


def _told(found: ErrorDetails, prefix: str, public: Collection[str]) -> str:
    problem = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:  # it is of several fields together, which it names
        return f"{prefix}…: {problem}"
    name = str(found["loc"][0])
    value = f" is {found['input']!r}" if name in public else ""
    return f"{prefix}{name.upper()}{value}: {problem}"
