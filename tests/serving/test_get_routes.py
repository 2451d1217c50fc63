"""The GET addresses that a bundle carries, at a real server."""

import httpx
import pytest

from roadworthy.models.routes import Latest
from roadworthy.routing import latest
from tests.serving import kinds

NEWEST = Latest(kinds.row(), "2026-01-02", facts={"next": "2026-01-05"})
CALL = {"call": "HIGH", "total": 8.0, "bound": 5, "source": "a constant", "alias": "champion"}
CALL |= {"version": 3, "as_of": "2026-01-02", "next": "2026-01-05"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("latest")


@pytest.fixture(scope="module")
def server(start, directory):
    bundle = kinds.write(directory / "bundle")
    return start("--bundle", bundle.path, "--version", 3, "--latest", directory)


@pytest.fixture
def get(server, directory):
    latest.write(directory, "kinds", NEWEST)
    return server.get


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def test_the_newest_request_is_answered_by_the_names_of_the_route(get):
    response = get("/call")

    assert response.status_code == 200
    assert response.json() == CALL
    assert response.headers["x-roadworthy-version"] == "3"
    assert response.headers["cache-control"] == "no-store"


def test_a_query_parameter_changes_the_choice(get):
    assert get("/call?bound=8").json() == CALL | {"call": "LOW", "bound": 8.0}
    assert get("/call?bound=7.9").json()["call"] == "HIGH"


def test_a_request_made_from_the_query_is_answered_with_all_fields(get):
    expected = kinds.answer(kinds.row(level=3, on=False, window=[1]))

    assert get("/levels/now?level=3").json() == expected


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/call?bound=10.5", "bound is out of range: send 0 to 10."),
        ("/call?bound=high", "bound is not a number: send 0 to 10."),
        ("/call?bound=NaN", "bound is not a number: send 0 to 10."),
        ("/call?bound=", "bound is not a number: send 0 to 10."),
        ("/call?bound=1&bound=2", "The query has bound twice: send it once."),
        ("/call?x=1", "The query has an unknown parameter x: the parameters are bound."),
        ("/levels/now", "level is missing: send at most 4."),
        ("/levels/now?level=1.5", "level is not a whole number: send at most 4."),
        ("/levels/now?level=-6", "level is out of range: send -5 to 5 m."),
    ],
)
def test_a_query_that_is_refused_is_told_the_bound(get, path, sentence):
    assert error(get(path)) == (422, sentence)


def test_without_the_newest_request_a_route_is_unavailable(get, directory):
    (directory / "kinds.json").unlink()

    status, sentence = error(get("/call"))

    assert status == 503
    assert sentence.startswith("kinds has no latest data yet, which /call needs: ingest")
    assert get("/levels/now?level=1").status_code == 200


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is damaged"),
        ('{"request": {"level": 99}, "as_of": "2026-01-02"}', "is no request of version 3"),
        ('{"request": {}, "as_of": "yesterday"}', "is damaged"),
    ],
)
def test_a_newest_request_that_is_wrong_is_no_fault_of_the_client(
    get, directory, content, sentence
):
    (directory / "kinds.json").write_text(content)

    status, said = error(get("/call"))

    assert status == 503
    assert sentence in said


def test_stale_data_says_how_old_it_is(get, directory):
    latest.write(directory, "kinds", Latest(kinds.row(), "2018-12-28", expires="2018-12-31"))

    stale = get("/call").json()["stale"]

    assert stale.startswith("The latest data is of 2018-12-28, ")
    assert stale.endswith(" days old.")


def test_a_route_is_asked_by_get_and_head_only(server, get):
    assert server.client.head("/call").status_code == 200
    assert server.client.options("/call").headers["allow"] == "GET, HEAD, OPTIONS"
    assert server.post("/call").status_code == 405


def test_a_route_is_answered_by_the_version_that_is_asked_for(get):
    assert get("/call", headers={"x-roadworthy-version": "3"}).json() == CALL
    assert get("/call", headers={"x-roadworthy-version": "4"}).status_code == 404


def test_the_openapi_document_has_the_routes(get):
    (bound, pinned) = sorted(
        get("/openapi.json").json()["paths"]["/call"]["get"]["parameters"],
        key=lambda p: p["in"] != "query",
    )

    assert bound == {"name": "bound", "in": "query", "required": False, "schema": kinds.BOUND}
    assert pinned["name"] == "x-roadworthy-version"
