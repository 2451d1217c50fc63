"""Write the report of a run, however it ended."""

from __future__ import annotations

from pathlib import Path

from roadworthy import records
from roadworthy.report import Report, conclude
from roadworthy.settings import Settings

JSON = "report.json"
HTML = "report.html"


def report(
    settings: Settings, run: str, *, model: str, trigger: str, html: Path | None = None
) -> Report:
    """Write the report beside the records, the page also to a file, and return it."""
    place = settings.records
    written = conclude(run, model, trigger, records.read(place, run))
    page = written.to_html(records.figures(place, run))
    records.put(place, run, HTML, page)
    records.put(place, run, JSON, written.to_json())
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_bytes(page)
    return written
