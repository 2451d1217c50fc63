"""The names of columns: as they stand in code, and the units in them."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence

from pydantic import BaseModel

_LONGEST = 30
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
# Names that would hide a type, or what the fields after them are made with.
_TAKEN = frozenset(("bool", "fields", "float", "int", "str"))
# The end of a name in brackets, or after an underscore.
_UNIT = re.compile(r"[(\[]\s*([^)\]]+?)\s*[)\]]\s*$|_([a-z0-9]+)$")
_KNOWN = """
    mm cm m km ft inch mi nm mg g kg lb lbs oz tonnes l ml gal m2 m3 sqm sqft
    ms s sec min h hours days weeks months years km/h m/s kmh kph mph rpm l/100km
    W kW MW kWh MWh V A mA Hz kHz MHz GHz hp J kJ Pa hPa kPa MPa bar psi
    K °C °F degC degF deg rad lux dB ppm ppb % EUR USD GBP CHF JPY
"""
_UNITS = {unit.lower(): unit for unit in _KNOWN.split()} | {"percent": "%", "pct": "%", "c": "°C"}
"""The units that are known, by how they are written in small letters."""
_ONLY_IN_BRACKETS = frozenset(("a", "c", "j", "k", "v", "w"))
"""Units that as the end of a name, such as in vitamin_c, mostly mean something else."""


def names(headers: Sequence[str]) -> dict[str, str]:
    """Return the name in the code of each column, by its name in the file."""
    found = {header: header for header in headers if _is_identifier(header)}
    for header in headers:
        if header not in found:
            name = plain = _renamed(header)
            number = 2
            while name in found.values():
                name, number = f"{plain}_{number}", number + 1
            found[header] = name
    return {header: found[header] for header in headers}


def unit(header: str) -> str:
    """Return the unit in a column's name, 1 for none that is known."""
    found = _UNIT.search(header)
    if found is None:
        return "1"
    bracketed, suffix = found.groups()
    if suffix in _ONLY_IN_BRACKETS:
        return "1"
    return _UNITS.get((bracketed or suffix).lower(), "1")


def _is_identifier(name: str) -> bool:
    return (
        _IDENTIFIER.fullmatch(name) is not None
        and len(name) <= _LONGEST
        and not keyword.iskeyword(name)
        and name not in _TAKEN
        and not name.startswith("model_")
        and not hasattr(BaseModel, name)
    )


def _renamed(name: str) -> str:
    """Return an identifier that reads like a name."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")[: _LONGEST - 7]
    return plain if _is_identifier(plain) else f"column_{plain}".rstrip("_")
