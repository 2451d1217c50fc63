"""No secret is printed, whatever the words that something failed with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from roadworthy.doctor.finding import Finding

_SECRET_NAME = re.compile(
    r"(TOKEN|PASSWORD|SECRET|ACCESS_KEY|PRIVATE_KEY)(?!.*(FILE|PATH|DIR|URL|NAME)$)", re.IGNORECASE
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s'\"]*@")
_SHORTEST = 4
"""A shorter value would be found in every other word, and protects nothing."""
_HIDDEN = "[hidden]"


def names_secret(variable: str) -> bool:
    """Return whether the name of a variable says that its value is a secret."""
    return bool(_SECRET_NAME.search(variable))


def discreet(found: Finding, environment: Mapping[str, str] = os.environ) -> Finding:
    """Return a finding without secrets.

    Hidden is the value of every variable whose name speaks of a secret, and the user and password
    in an address.
    """
    return replace(
        found, told=_without(found.told, environment), remedy=_without(found.remedy, environment)
    )


def _without(text: str, environment: Mapping[str, str]) -> str:
    values = (
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST and names_secret(name)
    )
    # The longest first: a secret may begin with another one.
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return _IN_ADDRESS.sub("", text)
