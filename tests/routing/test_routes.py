"""What is deployed is read as it was written, whole, or refused with what to do."""

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing, RoutingError

words = st.text(min_size=1, max_size=40)
releases = st.builds(
    Release, version=st.integers(1, 10**6), bundle=words, digest=words, since=words
)
ONE = Release(1, "bundles/one", "ab" * 32, "2025-01-02T03:04:05+00:00")
TWO = Release(2, "bundles/two", "cd" * 32, "2025-02-03T04:05:06+01:00")


@given(
    written=st.builds(
        Routing,
        st.just("fuel"),
        champion=st.none() | releases,
        challenger=st.none() | releases,
        weight=st.integers(0, 100),
        shadow=st.booleans(),
        state=words,
        previous=st.none() | releases,
        holder=words,
    )
)
def test_what_is_written_is_read(tmp_path_factory, written):
    directory = tmp_path_factory.mktemp("routing")

    routes.write(directory, written)

    assert routes.read(directory, "fuel") == written


def test_models_are_listed_in_alphabetical_order(tmp_path):
    for name in ("outliers", "fuel", "direction"):
        routes.write(tmp_path, Routing(name))
    (tmp_path / ".fuel.123").write_text("half written")
    (tmp_path / ".hidden.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("notes")

    assert routes.models(tmp_path) == ["direction", "fuel", "outliers"]


WHOLE = {"model": "fuel", "champion": None, "challenger": None}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"{}",
        json.dumps({"model": "fuel"}).encode(),
        json.dumps(WHOLE | {"champion": "one"}).encode(),
        json.dumps(WHOLE | {"champion": vars(ONE) | {"version": "one"}}).encode(),
        json.dumps(WHOLE | {"challenger": vars(ONE) | {"bundle": None}}).encode(),
        json.dumps(WHOLE | {"weight": 101}).encode(),
        json.dumps(WHOLE | {"shadow": "yes"}).encode(),
        json.dumps(WHOLE | {"state": None}).encode(),
    ],
)
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "fuel.json").write_bytes(content)

    with pytest.raises(RoutingError) as caught:
        routes.read(tmp_path, "fuel")

    sentence = str(caught.value)
    assert str(tmp_path / "fuel.json") in sentence
    assert "Delete it" in sentence
    assert "roadworthy serve" in sentence


def test_a_field_of_another_release_is_ignored_and_a_missing_one_has_its_default(tmp_path):
    told = {"model": "fuel", "champion": vars(ONE) | {"colour": "red"}, "speed": 3}
    (tmp_path / "fuel.json").write_text(json.dumps(told))

    assert routes.read(tmp_path, "fuel") == Routing("fuel", ONE)


def test_a_reader_sees_the_file_before_or_after_and_never_a_part(tmp_path):
    # given a reader that reads all the time
    routings = [Routing("fuel", ONE), Routing("fuel", TWO, ONE)]
    routes.write(tmp_path, routings[0])
    done, seen, failed = threading.Event(), set(), []

    def read_on():
        while not done.is_set():
            try:
                seen.add(routes.read(tmp_path, "fuel"))
            except RoutingError as error:
                failed.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()

    # when the routing file is replaced many times
    for number in range(500):
        routes.write(tmp_path, routings[number % 2])
    done.set()
    reader.join()

    # then it read one of the two each time
    assert failed == []
    assert seen <= set(routings)
    assert seen


@pytest.mark.parametrize("named", ["../boats", "boats"])
def test_a_routing_file_of_another_model_is_refused(tmp_path, named):
    (tmp_path / "fuel.json").write_text(
        json.dumps({"model": named, "champion": None, "challenger": None})
    )
    with pytest.raises(RoutingError, match="it is of the model"):
        routes.read(tmp_path, "fuel")
