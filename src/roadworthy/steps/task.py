"""A step as a task of an engine: its settings, and its record among those of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from roadworthy.core import mounted
from roadworthy.core.settings import Settings
from roadworthy.tracking import records
from roadworthy.tracking.records import Record, RecordError

PURE = ("prepare", "train", "evaluate")
"""The steps whose results depend on their inputs alone: an engine may use them again."""

_NONE: Mapping[str, bytes] = {}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A step under way.

    Parameters
    ----------
    settings
        Those of the process; ``settings.run`` is the id of the run.
    record
        What is known of the step.
    """

    settings: Settings
    record: Record

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.settings.run

    def tell(self, progress: str) -> None:
        """Record in a few words how far the step is, for who watches the run."""
        self.record.summary = progress
        try:
            records.update(self.settings.records, self.run, self.record)
        except RecordError as error:  # the end of the step is recorded, or fails it
            log.warning("%s", error)

    def done(self, result: Any, figures: Mapping[str, bytes] = _NONE, **details: Any) -> None:
        """Record a result: in words, as its plain values, and with PNG figures for the report."""
        records.attach(self.settings.records, self.run, figures)
        self.record.summary = str(result)
        plain = result.to_dict() if hasattr(result, "to_dict") else asdict(result)
        self.record.details = plain | details


@contextmanager
def task(name: str, *inputs: Mapping[str, Any]) -> Iterator[Task]:
    """Record a step, whether it ends well or not.

    Parameters
    ----------
    name
        One of :data:`roadworthy.tracking.records.STEPS`.
    inputs
        The metadata of the artifacts that it gets. Where another run made one, and the engine
        used it again, this run gets the records of the steps that it did not execute.
    """
    mounted.export()
    settings = Settings()
    for made_in in {str(metadata["run"]) for metadata in inputs if metadata.get("run")}:
        records.reuse(settings.records, settings.run, made_in, PURE)
    with records.step(settings.records, settings.run, name) as record:
        yield Task(settings, record)
