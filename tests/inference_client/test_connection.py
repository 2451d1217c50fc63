"""The service is not there yet, goes away, comes back, is slow or changes its version."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

READY = "#model[data-state=ready]"
EARLIER = "This answer is for the earlier request: Weight: 1,200 kg; Model year: 1980."
UNREADABLE = "The service answered something that this page cannot read."


@pytest.fixture(scope="module")
def own(new_service: Any) -> Iterator[Any]:
    """A service that tests may stop. It starts without a version."""
    service = new_service()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def lost(own: Any, packed: Any) -> Any:
    """The service with a version in production; running when the test begins."""
    own.release(packed)
    if own.process is None:
        own.start()
    return own


def test_no_model_is_ready_at_the_start(visit: Any, own: Any, packed: Any) -> None:
    # given a service without a version
    visited = visit(own.url)
    page = visited.page
    page.wait_for_selector("#model[data-state=trouble]")
    assert visited.text("#model") == "No model ready yet"
    assert "no model is ready yet. Trying again automatically." in visited.text("#notices")
    assert not page.is_visible("#ask")

    # when a version is released, then the page is filled without a click
    own.release(packed, age=timedelta(hours=2, minutes=5))
    page.wait_for_selector("#ask:visible")
    assert "Version 3, in production for 2 hours" in visited.text("#model")
    assert page.locator("circle.point").count() == 398
    visited.predict()


def test_a_service_that_goes_away_and_comes_back(visit: Any, lost: Any) -> None:
    # given an answer, and the colour of its value
    visited = visit(lost.url, reduced_motion="reduce")
    page = visited.page
    page.wait_for_selector(READY)
    visited.predict()
    colour = "getComputedStyle(document.querySelector('#outputs data')).color"
    plain = page.evaluate(colour)

    # when the service goes away, then the answer is dimmed and said to be of before
    lost.stop()
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_selector("#model[data-state=trouble]")
    assert visited.text("#model") == "Service not reachable"
    assert visited.text("#earlier") == "This answer is from before the service stopped answering."
    assert page.evaluate(colour) != plain

    # and what is asked meanwhile is kept, as is a file
    page.fill("#field-weight_kg", "1700")
    page.click("#ask")
    page.locator("#notices", has_text="Your request is answered as soon as that works.").wait_for()
    assert visited.text("#whose") == "For: Weight: 1,200 kg; Model year: 1980."
    assert visited.text("#earlier") == EARLIER
    body = b"weight_kg,year\n1200,1980\n9000,1980\n"
    page.set_input_files("#batch-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": body})
    status = page.locator("#batch-status")
    status.filter(has_text="0 of 2 rows answered so far. The service cannot be reached.").wait_for()

    # and answered when it is back
    lost.start()
    page.locator("#whose", has_text="1,700 kg").wait_for()
    page.wait_for_selector(READY)
    status.filter(has_text="1 of 2 rows answered, 1 cannot be").wait_for()
    answer = lost.answer({"weight_kg": 1700, "year": 1980})
    value = page.locator("[data-output=l_per_100km] data").get_attribute("value")
    assert float(value) == answer["l_per_100km"]
    assert visited.text("#earlier") == ""
    assert page.evaluate(colour) == plain
    assert page.locator(".notice[data-kind=trouble]").count() == 0


def test_a_new_version_is_told_with_its_first_answer(visit: Any, lost: Any, packed: Any) -> None:
    visited = visit(lost.url)
    page = visited.page
    page.wait_for_selector(READY)
    assert visited.text("#model-version") == "Version 3, in production for less than a minute"

    lost.release(packed, version=4, age=timedelta(days=1))
    with page.expect_response("**/card") as card:
        # the server polls its routing files: ask until the new version answers
        while page.locator("#model-version").inner_text().startswith("Version 3"):
            visited.predict()
            page.wait_for_timeout(100)

    assert card.value.json()["version"] == 4
    assert visited.text("#model-version") == "Version 4, in production for 1 day"


def test_a_long_wait_is_told(visit: Any, lost: Any) -> None:
    visited = visit(lost.url)
    page = visited.page
    page.wait_for_selector(READY)

    lost.process.send_signal(signal.SIGSTOP)
    try:
        page.click("#ask")
        assert page.locator("#ask").get_attribute("aria-disabled") == "true"
        assert visited.text("#ask") == "Predicting…"
        assert page.locator(".spinner").is_visible()
        page.locator("#waiting", has_text="The service").wait_for()
        assert "takes longer than usual" in visited.text("#waiting")
        page.click("#ask", force=True)  # asks nothing while it waits
    finally:
        lost.process.send_signal(signal.SIGCONT)

    page.wait_for_selector("#asked")
    page.wait_for_selector("#ask[aria-disabled=false]")
    assert visited.text("#waiting") == ""
    assert visited.text("#ask") == "Predict"
    assert len(visited.asked) == 1


@pytest.mark.parametrize(
    "garbage",
    ["null", {"metrics": None}, {"page": {"figure": 3}}, {"since": "yesterday"}],
    ids=str,
)
def test_a_card_that_is_none_is_told(visit: Any, service: Any, garbage: Any) -> None:
    # given a service that gives something else, or its card with a part of it spoiled
    visited = visit(service.url)
    page = visited.page
    page.wait_for_selector(READY)
    page.fill("#field-weight_kg", "1500")

    card = httpx.get(f"{service.url}v2/models/fuel/card").raise_for_status().json()
    body = json.dumps(card | garbage) if isinstance(garbage, dict) else garbage
    page.route("**/card", lambda route: route.fulfill(body=body))

    # when the page asks for it, at first and while it has a card
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_selector("#model[data-state=trouble]")
    assert page.input_value("#field-weight_kg") == "1500"

    # then that is said, and the page goes on: it still gets its answers
    assert visited.text("#model") == "Service in trouble"
    assert visited.text("#notices").startswith(f"{UNREADABLE} Trying again automatically.")
    page.fill("#field-weight_kg", "1700")
    page.click("#ask")
    page.locator("#whose", has_text="1,700 kg").wait_for()
    assert page.input_value("#field-weight_kg") == "1700"
    assert visited.problems == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>", UNREADABLE),
        (200, '{"predictions": [{"l_per_100km": 7}]}', UNREADABLE),
        (422, '{"details": [null, {"field": "year"}]}', "The service refused the request."),
        (413, '{"error": "Too much."}', "Too much."),
        (500, '{"error": "It broke."}', "could not answer (status 500). It broke."),
        (502, "<html>", "The service cannot be reached."),
    ],
)
def test_whatever_is_answered_is_told_in_words(
    opened: Any, status: int, body: str, words: str
) -> None:
    # given an answer, and then a service that answers something else
    page = opened.page
    opened.predict()
    page.route("**/*:predict", lambda of: of.fulfill(status=status, body=body))

    # when something else is asked
    page.fill("#field-weight_kg", "1500")
    page.click("#ask")

    # then that is said, what was typed stays, and the answer is not taken for the new one
    page.locator("#notices" if status == 502 else "#form-error", has_text=words).wait_for()
    assert page.input_value("#field-weight_kg") == "1500"
    assert opened.text("#earlier") == EARLIER
    # a browser notes each answer of 4xx and 5xx by itself
    assert [of for of in opened.problems if "with a status of" not in of] == []


def test_a_service_that_has_a_card_and_no_answer_is_asked_with_pauses(
    visit: Any, service: Any
) -> None:
    # given a page whose time stands still, and a service whose answers fail for a while
    visited = visit(service.url)
    page = visited.page
    page.wait_for_selector(READY)
    page.clock.install()
    page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
    page.route("**/*:predict", lambda route: route.fulfill(status=503, body="{}"), times=2)

    page.click("#ask")
    page.locator(".notice[data-kind=trouble]", has_text="is answered").wait_for()

    # then it is asked again after a second, and after a longer pause when that fails as well
    for pause in (1000, 1500):
        before = len(visited.asked)
        page.clock.run_for(pause - 100)
        assert len(visited.asked) == before
        with page.expect_response("**/*:predict"):
            page.clock.run_for(100)
        page.wait_for_selector("#ask[aria-disabled=false]")
    page.wait_for_selector("#asked")
    assert len(visited.asked) == 3
