"""During a rollout the page says which versions share the requests, and who answered."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from roadworthy.bundles.bundle import Bundle
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing

READY = "#model[data-state=ready]"


@pytest.fixture(scope="module")
def rolling(new_service: Any, packed: Bundle) -> Iterator[Any]:
    """A service of which the tests change what is in production."""
    service = new_service()
    service.release(packed)
    service.start()
    yield service
    service.stop()


def put(service: Any, made: Bundle, *, weight: int = 0, state: str = "") -> None:
    """Put version 3 in production, and version 4 beside it while there is a state."""
    since = datetime.now(UTC).isoformat()
    three, four = (Release(number, str(made.path), made.digest, since) for number in (3, 4))
    routes.write(
        service.routings, Routing("fuel", three, four if state else None, weight, state=state)
    )


def test_a_rollout_is_told_while_it_goes_on(visit: Any, rolling: Any, packed: Bundle) -> None:
    # given an open page and no rollout
    put(rolling, packed)
    visited = visit(rolling.url)
    page = visited.page
    page.wait_for_selector(READY)
    assert not page.is_visible("#rollout")
    page.fill("#field-weight_kg", "1555")

    # when one begins, then the page says so without being asked, and what was typed stays
    put(rolling, packed, weight=10, state="shifting")
    words = page.locator("#rollout-words")
    words.filter(has_text="it answers 10 %").wait_for()
    assert visited.text("#rollout-words") == (
        "Version 4 is being rolled out: it answers 10 % of the requests, version 3 the other 90 %."
    )
    assert visited.text("#model-version").startswith("Version 3, in production for")
    assert page.input_value("#field-weight_kg") == "1555"
    widths = page.eval_on_selector_all(
        "#rollout-bar span", "(parts) => parts.map((of) => of.getBoundingClientRect().width)"
    )
    assert widths[0] / widths[1] == pytest.approx(9, rel=0.05)

    # and every step after that, up to its end
    put(rolling, packed, weight=50, state="paused")
    words.filter(has_text="(paused)").wait_for()
    assert visited.text("#rollout-words") == (
        "Version 4 is being rolled out: it answers 50 % of the requests, version 3 the other 50 % "
        "(paused)."
    )
    put(rolling, packed)
    page.wait_for_selector("#rollout", state="hidden")
    assert visited.problems == []
    assert page.evaluate("window.violations") == []


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (0, "none of the requests yet, version 3 all of them."),
        (100, "all of the requests, version 3 none of them."),
    ],
)
def test_a_rollout_before_its_first_request_and_with_its_last(
    visit: Any, rolling: Any, packed: Bundle, weight: int, told: str
) -> None:
    put(rolling, packed, weight=weight, state="shifting")
    sentence = f"Version 4 is being rolled out: it answers {told}"
    visit(rolling.url).page.locator("#rollout-words", has_text=sentence).wait_for()


def test_answers_name_their_version(visit: Any, rolling: Any, packed: Bundle) -> None:
    put(rolling, packed, weight=50, state="shifting")
    visited = visit(rolling.url)
    page = visited.page
    page.locator("#rollout-words", has_text="it answers 50 %").wait_for()
    told = set()
    for _ in range(20):
        visited.predict()
        told.add(visited.text("#answered-by"))
    assert told == {"Answered by version 3.", "Answered by version 4."}
    # and so do the rows of a file
    body = b"weight_kg,year\n" + b"1200,1980\n" * 4000
    page.set_input_files("#batch-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": body})
    both = re.compile(r"^4,000 of .* By version [34] \([\d,]+\) and version [34] \([\d,]+\)\.")
    page.locator("#batch-status", has_text=both).wait_for()
    assert "Version" in page.locator("#batch-head th").all_inner_texts()
