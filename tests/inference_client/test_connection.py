"""The service is not there yet, goes away, comes back, is slow or changes its version."""

import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

READY = "#model[data-state=ready]"
# A fault of the page's own: what is to be sent cannot be written down.
BROKEN = """() => {
    const write = JSON.stringify;
    JSON.stringify = (value, ...more) => {
        if (value?.instances) throw new RangeError("broken");
        return write(value, ...more);
    };
}"""
UNREADABLE = "The service answered something that this page cannot read."


@pytest.fixture(scope="module")
def own(new_service: Any) -> Iterator[Any]:
    """A service that tests may stop. It starts with nothing on the road."""
    service = new_service()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def lost(own: Any, small_bundle: Any) -> Any:
    """The service with a version on the road; running when the test begins."""
    own.release(small_bundle)
    if own.process is None:
        own.start()
    return own


def test_no_model_is_ready_at_the_start(visit: Any, own: Any, small_bundle: Any) -> None:
    # given a service with nothing on the road
    visited = visit(own)
    page = visited.page
    page.wait_for_selector("#model[data-state=trouble]")
    assert visited.text("#model") == "No model ready yet"
    assert "no model is ready yet. Trying again by itself." in visited.text("#notices")

    # when a car is asked for all the same, and then a version comes on the road
    page.fill("#weight_kg", "1500")
    page.click("#ask")
    page.locator(".notice", has_text="is answered").wait_for()
    own.release(small_bundle, age=timedelta(hours=2, minutes=5))

    # then the car is answered without another click
    page.wait_for_selector("#asked-car")
    assert visited.text("#whose") == "For a car of 1,500 kg, model year 1980."
    assert "Version 3, on the road for 2 hours" in visited.text("#model")
    assert page.locator("circle.point").count() == 398


def test_a_service_that_goes_away_and_comes_back(visit: Any, lost: Any) -> None:
    # given an answer
    visited = visit(lost)
    page = visited.page
    page.wait_for_selector(READY)
    visited.predict()

    # when the service goes away
    lost.stop()
    page.fill("#weight_kg", "1700")
    page.fill("#year", "1975")
    page.click("#ask")

    # then that is said, and nothing typed is lost
    page.wait_for_selector(".notice[data-kind=trouble]")
    assert visited.text("#notices") == (
        "The service cannot be reached. Trying again by itself. "
        "Your car is answered as soon as that works."
    )
    assert visited.text("#model") == "Service not reachable"
    assert page.input_value("#weight_kg") == "1700"
    assert page.input_value("#year") == "1975"
    assert visited.text("#whose") == "For a car of 1,200 kg, model year 1980."
    assert visited.text("#earlier") == "This answer is of the earlier car: 1,200 kg, 1980."

    # and when it is back, the car is answered
    lost.start()
    page.locator("#whose", has_text="1,700 kg").wait_for()
    page.wait_for_selector(READY)
    answer = lost.answer({"weight_kg": 1700, "year": 1975})
    assert visited.text("#number") == f"{answer['l_per_100km']:.1f}"
    assert page.locator(".notice[data-kind=trouble]").count() == 0


def test_an_answer_is_marked_as_of_before_while_the_service_is_away(visit: Any, lost: Any) -> None:
    # given an answer, and the colour of its number
    visited = visit(lost, reduced_motion="reduce")
    page = visited.page
    page.wait_for_selector(READY)
    visited.predict()
    colour = "getComputedStyle(document.querySelector('#number')).color"
    plain = page.evaluate(colour)
    # when the service goes away, then the answer is dimmed and said to be of before
    lost.stop()
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_selector("#model[data-state=trouble]")
    assert visited.text("#earlier") == "This answer is from before the service stopped answering."
    assert page.evaluate(colour) != plain
    # and when it is back, that is over
    lost.start()
    page.wait_for_selector(READY)
    assert visited.text("#earlier") == ""
    assert page.evaluate(colour) == plain


def test_a_new_version_is_told_with_its_first_answer(
    visit: Any, lost: Any, small_bundle: Any
) -> None:
    visited = visit(lost)
    page = visited.page
    page.wait_for_selector(READY)
    assert visited.text("#model-version") == "Version 3, on the road for less than a minute"

    lost.release(small_bundle, version=4, age=timedelta(days=1))
    with page.expect_response("**/card") as card:
        # the server looks at its road a few times a second: ask until the new version answers
        while page.locator("#model-version").inner_text().startswith("Version 3"):
            visited.predict()
            page.wait_for_timeout(100)

    assert card.value.json()["version"] == 4
    assert visited.text("#model-version") == "Version 4, on the road for 1 day"


def test_a_long_wait_is_told(visit: Any, lost: Any) -> None:
    visited = visit(lost)
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

    page.wait_for_selector("#asked-car")
    page.wait_for_selector("#ask[aria-disabled=false]")
    assert visited.text("#waiting") == ""
    assert visited.text("#ask") == "Predict consumption"
    assert len(visited.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "where", "words"),
    [
        (500, '{"error": "It broke."}', "#form-error", "could not answer (status 500). It broke."),
        (500, "<html>", "#form-error", "could not answer (status 500)."),
        (413, '{"error": "Too much."}', "#form-error", "Too much."),
        (200, "<html>", "#form-error", "something that this page cannot read."),
        (502, "<html>", "#notices", "The service cannot be reached."),
        (503, '{"error": "Wait."}', "#notices", "no model is ready yet."),
    ],
)
def test_whatever_is_answered_is_told_in_words(
    opened: Any, status: int, body: str, where: str, words: str
) -> None:
    # given something between page and service, which answers instead of it
    page = opened.page
    page.route(re.compile(r"/v[12]/"), lambda route: route.fulfill(status=status, body=body))
    page.click("#ask")
    page.locator(where, has_text=words).wait_for()


@pytest.mark.parametrize(
    "garbage",
    [
        *("null", "{}", "[]", "3"),
        *({name: None} for name in ("commit", "metrics", "points", "candidate", "request")),
        {"points": {}},
        {"points": {"weight_kg": [1200], "l_per_100km": [None], "year": [1980]}},
        {"request": {"properties": {"year": None}}},
        {"since": "yesterday"},
    ],
    ids=str,
)
def test_a_card_that_is_none_is_told(visit: Any, service: Any, garbage: Any) -> None:
    # given a service that gives something else, or its card with a part of it spoiled
    visited = visit(service)
    page = visited.page
    page.wait_for_selector(READY)
    page.fill("#weight_kg", "1500")

    card = httpx.get(f"{service.url}v2/models/fuel/card").raise_for_status().json()
    body = json.dumps(card | garbage) if isinstance(garbage, dict) else garbage
    page.route("**/card", lambda route: route.fulfill(body=body))

    # when the page asks for it, at first and while it has a card
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_selector("#model[data-state=trouble]")
    assert page.input_value("#weight_kg") == "1500"
    page.reload()
    page.wait_for_selector("#model[data-state=trouble]")

    # then that is said, and the page goes on: it still gets its answers
    assert visited.text("#model") == "Service in trouble"
    assert visited.text("#notices").startswith(f"{UNREADABLE} Trying again by itself.")
    page.fill("#weight_kg", "1700")
    page.click("#ask")
    page.locator("#whose", has_text="1,700 kg").wait_for()
    assert page.input_value("#weight_kg") == "1700"
    assert visited.problems == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        *(
            (200, body, UNREADABLE)
            for body in (
                *("null", "{}", "[]", '{"predictions": []}', '{"predictions": [null]}'),
                '{"predictions": [{"l_per_100km": 7}]}',
            )
        ),
        *(
            (422, body, "The service refused the request.")
            for body in ("null", '{"details": [null]}', '{"details": [{"field": "year"}]}')
        ),
        (422, '{"error": "No.", "details": [{"field": "year", "problem": 3}]}', "No."),
        (422, '{"error": "No.", "details": {"field": "year"}}', "No."),
    ],
)
def test_an_answer_that_is_none_is_told(opened: Any, status: int, body: str, words: str) -> None:
    # given an answer, and then a service that answers something else
    page = opened.page
    opened.predict()
    page.route("**/v1/**", lambda route: route.fulfill(status=status, body=body))

    # when another car is asked for
    page.fill("#weight_kg", "1500")
    page.fill("#year", "1975")
    page.click("#ask")

    # then that is said, what was typed stays, and the answer is not taken for the new car's
    page.wait_for_selector("#form-error:visible")
    page.wait_for_selector("#ask[aria-disabled=false]")
    assert opened.text("#form-error").endswith(words)
    assert page.input_value("#weight_kg") == "1500"
    assert page.input_value("#year") == "1975"
    assert opened.text("#earlier") == "This answer is of the earlier car: 1,200 kg, 1980."
    # a browser notes each answer of 4xx by itself
    assert [of for of in opened.problems if "status of 422" not in of] == []


def test_a_failure_of_the_page_itself_is_told(opened: Any) -> None:
    opened.page.evaluate(BROKEN)
    opened.page.click("#ask")
    opened.page.locator("#form-error", has_text="This page failed at it: broken").wait_for()
    opened.page.wait_for_selector("#ask[aria-disabled=false]")


def test_an_answer_is_not_announced_again_when_the_card_is(opened: Any) -> None:
    page = opened.page
    opened.predict()
    page.evaluate(
        """() => {
            window.announced = 0;
            new MutationObserver(() => { window.announced += 1; }).observe(
                document.getElementById("said"),
                {subtree: true, childList: true, characterData: true, attributes: true});
        }"""
    )
    with page.expect_response("**/card"):
        page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_timeout(200)
    assert page.evaluate("window.announced") == 0

    page.locator("[value=mpg]").check()
    assert page.evaluate("window.announced") > 0


def test_a_service_that_has_a_card_and_no_answer_is_asked_with_pauses(
    visit: Any, service: Any
) -> None:
    # given a page whose time stands still, and a service whose answers fail for a while
    visited = visit(service)
    page = visited.page
    page.wait_for_selector(READY)
    page.clock.install()
    page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
    page.route("**/v1/**", lambda route: route.fulfill(status=503, body="{}"), times=2)

    page.click("#ask")
    page.locator(".notice[data-kind=trouble]", has_text="is answered").wait_for()

    # then it is asked again after a second, and after a longer pause when that fails as well
    for pause in (1000, 1500):
        before = len(visited.asked)
        page.clock.run_for(pause - 100)
        assert len(visited.asked) == before
        with page.expect_response("**/v1/**"):
            page.clock.run_for(100)
        page.wait_for_selector("#ask[aria-disabled=false]")
    page.wait_for_selector("#asked-car")
    assert len(visited.asked) == 3


def test_a_file_that_is_dropped_while_the_service_is_away_is_answered_when_it_is_back(
    visit: Any, lost: Any
) -> None:
    # given an open page and a service that went away
    visited = visit(lost)
    page = visited.page
    page.wait_for_selector(READY)
    page.fill("#weight_kg", "1555")
    lost.stop()

    # when a file is chosen
    body = b"weight_kg,year\n1200,1980\n9000,1980\n"
    page.set_input_files("#batch-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": body})

    # then it waits, and is answered once the service is back; what was typed stays
    status = page.locator("#batch-status")
    status.filter(has_text="0 of 2 rows answered so far. The service cannot be reached.").wait_for()
    lost.start()
    status.filter(has_text="1 of 2 rows answered, 1 cannot be").wait_for()
    assert page.input_value("#weight_kg") == "1555"


def test_a_card_that_is_the_one_before_is_not_sent_again(visit: Any, service: Any) -> None:
    visited = visit(service)
    visited.page.wait_for_selector(READY)
    with visited.page.expect_response("**/card") as again:
        visited.page.evaluate("window.dispatchEvent(new Event('online'))")
    # the browser shows the page its own copy: what went over the wire is asked for again
    known = {"if-none-match": again.value.request.all_headers()["if-none-match"]}
    assert httpx.get(again.value.url, headers=known).status_code == httpx.codes.NOT_MODIFIED
