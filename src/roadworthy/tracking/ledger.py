"""The ledger of a model: which version became the champion when, by whom and on which evidence.

Each entry is a tag of its version in MLflow, which is only ever added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # MLflow takes seconds to import
    from roadworthy.tracking.registry import Version

Event = Literal["promoted", "restored", "rolled back"]
_TAG = "ledger."


@dataclass(frozen=True)
class Entry:
    """An entry of the ledger.

    Parameters
    ----------
    at
        The time, as ISO 8601 with its offset.
    version
        Of which version it is.
    by, why
        Who or which run did it, and the reason.
    candidate, gate, pipeline_run
        The evidence: what the version is, what the gate said of it, and in which run.
    """

    at: str
    event: Event
    version: int
    by: str
    why: str
    candidate: str
    gate: str
    pipeline_run: str


def entry(event: Event, *, at: str, by: str, why: str) -> dict[str, str]:
    """Return the tag that adds an entry to a version; the same again is the same tag.

    Parameters
    ----------
    at
        The time, as ISO 8601 with its offset.
    """
    moment = datetime.fromisoformat(at).astimezone(UTC)
    key = f"{_TAG}{moment:%Y-%m-%dT%H:%M:%SZ}.{event.replace(' ', '_')}"
    return {key: json.dumps({"event": event, "by": by, "why": why}, ensure_ascii=False)}


def read(versions: Iterable[Version]) -> list[Entry]:
    """Return the ledger of a model's versions, the oldest entry first."""
    found = [_entry(version, *told) for version in versions for told in _told(version.tags)]
    return sorted(found, key=lambda made: (made.at, made.version))


def predecessor(versions: Iterable[Version], champion: int) -> int:
    """Return the version that was the champion before this one, and was not rolled back; 0 if none.

    A champion that was restored has the predecessor that it had when it was promoted.
    """
    known = {version.number: version for version in versions}
    former: list[int] = []
    for made in read(known.values()):
        if made.event == "restored" and made.version in former:
            former = former[: former.index(made.version) + 1]
        else:
            former = [number for number in former if number != made.version]
            former += [] if made.event == "rolled back" else [made.version]
    former = former[: former.index(champion)] if champion in former else former
    good = [number for number in former if not known[number].tags.get("rolled_back")]
    return good[-1] if good else 0


def _told(tags: Mapping[str, str]) -> Iterator[tuple[str, Event, str, str]]:
    keys = [key for key in tags if key.startswith(_TAG)]
    for key in keys:
        told = json.loads(tags[key])
        at = datetime.fromisoformat(key.removeprefix(_TAG).partition(".")[0])
        yield at.isoformat(), told["event"], told["by"], told["why"]
    # The release before kept the last promotion alone.
    if not any(key.endswith(".promoted") for key in keys) and tags.get("promoted_at"):
        by, why = tags.get("promoted_by", ""), tags.get("promoted_why", "")
        at = datetime.fromisoformat(tags["promoted_at"]).astimezone(UTC)
        yield at.isoformat(timespec="seconds"), "promoted", by, why


def _entry(version: Version, at: str, event: Event, by: str, why: str) -> Entry:
    names = ("candidate", "gate_reasons", "pipeline_run")
    return Entry(at, event, version.number, by, why, *(version.tags.get(one, "") for one in names))
