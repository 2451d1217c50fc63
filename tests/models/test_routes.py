from datetime import UTC, datetime, timedelta

import pytest

from roadworthy.models.routes import Choice, Latest, Route


@pytest.mark.parametrize(
    "path", ["", "/", "today", "/v2/today", "/metrics", "/a//b", "/a.b", "/a?b"]
)
def test_a_route_has_a_path_of_its_own(path):
    with pytest.raises(ValueError, match="is not a path of its own"):
        Route(path)


@pytest.mark.parametrize(
    ("route", "reference"),
    [
        (Route("/a", answer={"x": "{answer.z}"}), "{answer.z}"),
        (Route("/a", answer={"x": "{query.z}"}), "{query.z}"),
        (Route("/a", answer={"x": Choice("z", 0, 1, 2)}), "{answer.z}"),
        (Route("/a", answer={"x": Choice("y", "{query.z}", 1, 2)}), "{query.z}"),
        (Route("/a", answer={"x": "{model.z}"}), "{model.z}"),
        (Route("/a", request={"z": 1}), "the field z of the request"),
        (Route("/a", request={"x": "{query.z}"}), "{query.z}"),
    ],
)
def test_what_a_route_refers_to_must_exist(route, reference):
    with pytest.raises(ValueError, match=reference):
        route.check({"x"}, {"y"})


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Invalid isoformat"):
        Latest({}, "yesterday")


@pytest.mark.parametrize(
    ("age", "sentence"),
    [
        (timedelta(hours=23), ""),
        (timedelta(hours=30), "The latest data is of 2026-01-02, 30 hours old."),
        (timedelta(days=3, hours=1), "The latest data is of 2026-01-02, 3 days old."),
    ],
)
def test_data_is_stale_when_it_has_expired(age, sentence):
    now = datetime(2026, 1, 2, tzinfo=UTC) + age

    assert Latest({}, "2026-01-02", expires="2026-01-03").staleness(now) == sentence
