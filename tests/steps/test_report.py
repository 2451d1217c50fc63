"""The report is written beside the records, again and again the same."""

import json

import pytest

from roadworthy import records
from roadworthy.steps.report import HTML, JSON, report


@pytest.fixture
def place(settings):
    with records.step(settings.records, "run-1", "checkout") as record:
        record.details = {"commit": "c" * 40, "data_hash": "d" * 32, "new": False}
        record.summary = "nothing new"
    records.attach(settings.records, "run-1", {"residuals": b"\x89PNG"})
    return settings


def test_page_and_json_lie_beside_the_records(place, tmp_path):
    html = tmp_path / "deep" / "er" / "report.html"

    found = report(place, "run-1", model="fuel", trigger="manual", html=html)

    assert found.outcome == "nothing new"
    page = records.get(place.records, "run-1", HTML)
    assert html.read_bytes() == page
    assert b"data:image/png;base64,iVBORw" in page
    assert json.loads(records.get(place.records, "run-1", JSON))["why"] == "nothing new"


def test_writing_it_again_changes_nothing(place):
    def written():
        report(place, "run-1", model="fuel", trigger="manual")
        return [records.get(place.records, "run-1", name) for name in (HTML, JSON)]

    assert written() == written()


def test_a_run_that_recorded_nothing_has_a_report(settings):
    found = report(settings, "run-2", model="fuel", trigger="manual")

    assert found.outcome == "failed"
    assert b"No step was started." in records.get(settings.records, "run-2", HTML)
