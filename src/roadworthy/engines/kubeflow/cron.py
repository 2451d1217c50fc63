"""Times of a schedule: as crontab writes them, and as Kubeflow does, seconds first."""

from __future__ import annotations

import re
from calendar import monthrange

from roadworthy.core.errors import RoadworthyError

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
_LEAP_YEAR = 2028
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
        It is neither, or never comes.
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
    if _is_never(*fields[-3:]):
        raise CronError(
            f"{times!r} never comes: no such month has a day {fields[-3]}. Choose a day of the "
            f"month that is there, or another month."
        )
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


def _is_never(day: str, month: str, weekday: str) -> bool:
    """Return whether no month has the day. Where a day of the week is named, either will do."""
    if not any(part.startswith(("*", "?")) for part in weekday.split(",")):
        return False
    longest = max(monthrange(_LEAP_YEAR, number)[1] for number in _values(month, _FIELDS[3]))
    return min(_values(day, _FIELDS[2])) > longest


def _values(text: str, field: tuple[str, int, int, tuple[str, ...]]) -> set[int]:
    """Return the numbers that a field means, which was checked."""
    _, low, high, names = field
    values: set[int] = set()
    for part in text.split(","):
        ends, _, step = part.partition("/")
        first, _, last = ends.partition("-")
        start = _number(first, low, names)
        end = _number(last, low, names) if last else start
        # A step without an end goes to the last, as * does.
        to = high if end is None or (step and not last) else end
        values.update(range(low if start is None else start, to + 1, int(step or 1)))
    return values


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isdecimal() else None
