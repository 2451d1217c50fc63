"""A version is good when it answers as it was trained; whatever else happens is told."""

import json

import pytest

from roadworthy.bundles.bundle import Golden
from roadworthy.rollout.engine.verification import VERSION_HEADER, verify
from tests.parts.answering import Reply
from tests.rollout.staging import stage


@pytest.fixture
def golden():
    return Golden([{"weight_kg": 1200}, {"weight_kg": 900}], [{"mpg": 20.0}, {"mpg": 0.0}])


@pytest.fixture
def lying(server_of):
    """Start servers that answer as they are told to."""
    return lambda answer: server_of(lambda asked: Reply(*answer(asked.json()["instances"])))


def answering(predict, version="3"):
    def answer(requests):
        body = json.dumps({"predictions": predict(requests)}).encode()
        return 200, body, {VERSION_HEADER: version}

    return answer


def right(requests):
    return [{"mpg": 20.0 if request["weight_kg"] == 1200 else 0.0} for request in requests]


def is_problem(found, *words):
    assert not found.good
    assert str(found) == found.problem
    assert "\n" not in found.problem
    for word in words:
        assert word in found.problem


def test_a_real_server_with_the_bundle_is_good(served_home, packed):
    stage(served_home, packed, 1)

    found = verify(served_home.serving_url, "fuel", 1, packed.golden)

    assert found.good
    assert found.requests == 20
    assert found.difference <= found.allowed
    assert str(found).startswith("20 golden requests, greatest difference ")


def test_another_bundle_under_that_version_is_told_with_the_difference(served_home, packed, simple):
    stage(served_home, simple, 2)

    found = verify(served_home.serving_url, "fuel", 2, packed.golden)

    is_problem(found, "an answer differs", f"differs by {found.difference:.2g}", "1e-05 is allowed")
    assert 1e-3 < found.difference < 1


def test_a_version_that_is_not_held_is_told(served_home, packed):
    found = verify(served_home.serving_url, "fuel", 99, packed.golden)

    is_problem(found, "404", "99")


def test_a_server_that_is_gone_is_told(packed):
    found = verify("http://127.0.0.1:9", "fuel", 1, packed.golden)

    is_problem(found, "got no answer from http://127.0.0.1:9")


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:port", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_told(address, golden):
    is_problem(verify(address, "fuel", 1, golden), address)


def test_a_right_answer_is_good_also_where_it_is_zero(lying, golden):
    found = verify(lying(answering(right)), "fuel", 3, golden)

    assert (found.good, found.requests, found.difference) == (True, 2, 0.0)


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda r: [{"mpg": 20.001}] * len(r), "an answer differs"),
        (lambda r: [{"mpg": float("nan")}] * len(r), "differs"),
        (lambda r: [{"mpg": float("inf")}] * len(r), "differs"),
        (lambda r: [], "1 requests got 0 answers"),
        (lambda r: right(r) * 2, "1 requests got 2 answers"),
        (lambda r: right(r)[:1], "2 requests got 1 answers"),
        (lambda r: [{"km": 1.0}] * len(r), "mpg differs by inf"),
        (lambda r: [{"mpg": "20"}] * len(r), "mpg differs by inf"),
        (lambda r: [{"mpg": None}] * len(r), "mpg differs by inf"),
        (lambda r: [{"mpg": True}] * len(r), "mpg differs by inf"),
        (lambda r: [20.0] * len(r), "no object of fields"),
        (lambda r: {"mpg": 20.0}, "no list of predictions"),
        (lambda r: None, "no list of predictions"),
        (lambda r: "20", "no list of predictions"),
    ],
)
def test_a_wrong_answer_is_told(lying, golden, predict, words):
    is_problem(verify(lying(answering(predict)), "fuel", 3, golden), words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b"Traceback:\n  it broke", {}), "500: Traceback: it broke"),
        ((302, b"", {"location": "http://127.0.0.1:9/"}), "302"),
        ((200, b"garbage", {VERSION_HEADER: "3"}), "no JSON: 'garbage'"),
        ((200, b"\xff\xfe\x00", {VERSION_HEADER: "3"}), "no JSON"),
        ((200, b"[" * 100_000, {VERSION_HEADER: "3"}), "no JSON"),
        ((200, b"[1]", {VERSION_HEADER: "3"}), "no list of predictions"),
        ((200, b"{}", {VERSION_HEADER: "2"}), "version 2 answered in place of version 3"),
        ((200, b"{}", {}), "in place of version 3"),
        ((200, b"not gzip", {VERSION_HEADER: "3", "content-encoding": "gzip"}), "no answer"),
    ],
)
def test_an_answer_that_is_none_is_told(lying, golden, answer, words):
    is_problem(verify(lying(lambda requests: answer), "fuel", 3, golden), words)


def test_a_request_that_is_answered_503_once_or_twice_is_asked_again(lying, golden):
    asked = []

    def answer(requests):
        asked.append(requests)
        return (503, b"busy", {}) if len(asked) < 3 else answering(right)(requests)

    assert verify(lying(answer), "fuel", 3, golden).good
    is_problem(verify(lying(lambda requests: (503, b"busy", {})), "fuel", 3, golden), "503: busy")


def test_a_bundle_without_golden_requests_is_not_good(lying):
    is_problem(verify(lying(answering(right)), "fuel", 3, Golden([], [])), "no golden request")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(lying, golden, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert verify(lying(answering(right)), "fuel", 3, golden).good
