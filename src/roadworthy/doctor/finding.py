"""What a check found, without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

State = Literal["ok", "warning", "missing"]

_SECRET_NAME = re.compile(
    r"(TOKEN|PASSWORD|SECRET|ACCESS_KEY|PRIVATE_KEY)(?!.*(FILE|PATH|DIR|URL|NAME)$)", re.IGNORECASE
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s'\"]*@")
_SHORTEST = 4
"""A shorter value occurs in ordinary words, and protects nothing."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Parameters
    ----------
    name
        What was checked.
    state
        ``ok``; ``warning`` where only some need what is missing; ``missing`` where it is needed.
    told
        What was found.
    remedy
        The command that fixes it; empty where all is well.
    """

    name: str
    state: State
    told: str
    remedy: str = ""


def ok(name: str, told: str) -> Finding:
    """Return that a thing is as it must be."""
    return Finding(name, "ok", told)


def warning(name: str, told: str, remedy: str) -> Finding:
    """Return that a thing is not as some need it."""
    return Finding(name, "warning", told, remedy)


def missing(name: str, told: str, remedy: str) -> Finding:
    """Return that a thing is missing, or not as it must be."""
    return Finding(name, "missing", told, remedy)


def names_secret(variable: str) -> bool:
    """Return whether the name of a variable says that its value is a secret."""
    return bool(_SECRET_NAME.search(variable))


def without_secrets(found: Finding, environment: Mapping[str, str] = os.environ) -> Finding:
    """Return a finding without the values of secret variables, and without users in addresses."""
    secrets = [
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST and names_secret(name)
    ]

    def hidden(text: str) -> str:
        # The longest first: a secret may begin with another one.
        for value in sorted(secrets, key=len, reverse=True):
            text = text.replace(value, "[hidden]")
        return _IN_ADDRESS.sub("", text)

    return replace(found, told=hidden(found.told), remedy=hidden(found.remedy))
