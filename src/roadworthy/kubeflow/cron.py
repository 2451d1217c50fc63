"""Times of a schedule: as crontab writes them, and as Kubeflow does, seconds first."""

from __future__ import annotations

import re

from roadworthy.errors import RoadworthyError

_SECONDS = ("seconds", 0, 59, ())
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minutes", 0, 59, ()),
    ("hours", 0, 23, ()),
    ("days of the month", 1, 31, ()),
    ("months", 1, 12, _MONTHS),
    ("days of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<first>[*?]|\w+)(-(?P<last>\w+))?(/[1-9]\d?)?", re.ASCII)


class CronError(RoadworthyError):
    """Times that no schedule can have."""


def for_kubeflow(times: str) -> str:
    """Return times in the six fields that Kubeflow takes, the seconds first.

    Parameters
    ----------
    times
        Five fields as in crontab, ``0 3 * * 1``, or six with the seconds first.

    Raises
    ------
    CronError
        It is neither.
    """
    fields = times.split()
    known = _FIELDS if len(fields) == len(_FIELDS) else (_SECONDS, *_FIELDS)
    if len(fields) != len(known):
        raise CronError(
            f"{times!r} has {len(fields)} fields: write the five of crontab (minute, hour, day of "
            f'the month, month, day of the week), e.g. "0 3 * * 1", or six with the second first.'
        )
    for text, field in zip(fields, known, strict=True):
        _check(times, text, field)
    return " ".join(fields if len(fields) > len(_FIELDS) else ["0", *fields])


def for_people(times: str) -> str:
    """Return times as crontab writes them, where it can: at second 0."""
    first, _, rest = times.partition(" ")
    return rest if first == "0" and len(rest.split()) == len(_FIELDS) else times


def _check(times: str, text: str, field: tuple[str, int, int, tuple[str, ...]]) -> None:
    name, low, high, names = field
    for part in text.split(","):
        found = _PART.fullmatch(part)
        ends = [found["first"], found["last"]] if found else ["?"]
        values = [_number(end, low, names) for end in ends if end not in (None, "*", "?")]
        well = found and all(value is not None and low <= value <= high for value in values)
        backwards = len(values) > 1 and None not in values and values[0] > values[1]  # type: ignore[operator]
        if not well or backwards or (found and found["first"] in "*?" and found["last"]):
            words = f" or {names[0]} to {names[-1]}" if names else ""
            raise CronError(
                f"{times!r} is no time of a schedule: {part!r} is nothing for the {name}, which "
                f"are {low} to {high}{words}, with *, lists, ranges (1-5) and steps (*/2)."
            )


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isdecimal() else None
