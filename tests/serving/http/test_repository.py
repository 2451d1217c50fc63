"""KServe's repository API over HTTP: what is deployed, and look again."""

import json
import shutil

import pytest

from roadworthy.bundles import bundle
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
INDEX = "/v2/repository/index"


@pytest.fixture(scope="module")
def routings(bundles, release, tmp_path_factory):
    return tmp_path_factory.mktemp("routing")


@pytest.fixture(scope="module")
def lazy(start, routings, bundles, release):
    """A server that does not look at the routing files by itself."""
    routes.write(routings, Routing("fuel", release(1, bundles[0])))
    return start("--routing", routings, "--poll-seconds", 3600)


@pytest.fixture(autouse=True)
def _first(lazy, routings, bundles, release):
    routes.write(routings, Routing("fuel", release(1, bundles[0])))
    lazy.post("/v2/repository/models/fuel/load")


def index(server, **asked):
    return server.post(INDEX, **({"json": asked} if asked else {})).json()


def entry(version, reason=""):
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": "fuel", "version": version, "state": state, "reason": reason}


def answered_by(server) -> str:
    answer = server.post(PREDICT, json={"instances": [CAR]})
    assert answer.status_code == 200
    return answer.headers["x-roadworthy-version"]


def test_to_load_is_to_apply_the_routing_file_now(lazy, routings, bundles, release):
    assert index(lazy) == [entry("1")]

    routes.write(routings, Routing("fuel", release(2, bundles[1]), release(1, bundles[0])))
    assert answered_by(lazy) == "1"
    done = lazy.post("/v2/repository/models/fuel/load")

    assert (done.status_code, done.json()) == (200, {"name": "fuel", "load": True})
    assert answered_by(lazy) == "2"
    assert index(lazy) == [entry("1"), entry("2")]


def damaged(bundles, tmp_path, how: str) -> Release:
    path = tmp_path / "damaged"
    shutil.copytree(bundles[1].path, path)
    graph = (path / bundle.MODEL).read_bytes()
    if how == "half-written":
        (path / bundle.MODEL).write_bytes(graph[:1000])
    elif how == "one byte differs":
        (path / bundle.MODEL).write_bytes(graph[:100] + bytes([graph[100] ^ 1]) + graph[101:])
    else:
        (path / "manifest.json").unlink()
    return Release(2, str(path), bundles[1].digest, "")


@pytest.mark.parametrize("how", ["half-written", "one byte differs", "no manifest"])
def test_a_damaged_bundle_is_refused_in_a_sentence_and_the_version_stays(
    lazy, routings, bundles, tmp_path, how
):
    routes.write(routings, Routing("fuel", damaged(bundles, tmp_path, how)))

    refused = lazy.post("/v2/repository/models/fuel/load")

    assert refused.status_code == 503
    sentence = refused.json()["error"]
    assert sentence.startswith("Version 2 of fuel is refused: ")
    assert str(tmp_path / "damaged") in sentence
    assert answered_by(lazy) == "1"
    assert index(lazy) == [entry("1"), entry("2", sentence)]
    assert index(lazy, ready=True) == [entry("1")]
    assert lazy.get("/v2/health/ready").status_code == 200
    assert lazy.log.read_text().count("Traceback") == 0


def test_a_damaged_routing_file_is_reported_and_the_version_stays(lazy, routings):
    (routings / "fuel.json").write_text("{")

    refused = lazy.post("/v2/repository/models/fuel/load")

    assert refused.status_code == 503
    assert "is damaged" in refused.json()["error"]
    assert answered_by(lazy) == "1"


def test_a_deployed_version_is_not_unloaded_and_a_removed_one_is(lazy, routings):
    refused = lazy.post("/v2/repository/models/fuel/unload")
    assert refused.status_code == 409
    assert "Version 1 of fuel is deployed" in refused.json()["error"]
    assert answered_by(lazy) == "1"

    routes.write(routings, Routing("fuel"))
    done = lazy.post("/v2/repository/models/fuel/unload")

    assert (done.status_code, done.json()) == (200, {"name": "fuel", "unload": True})
    assert lazy.post(PREDICT, json={"instances": [CAR]}).status_code == 503
    assert lazy.get("/v2/models/fuel/ready").status_code == 503
    assert index(lazy) == [entry("", "No version of fuel is deployed.")]
    assert lazy.post("/v2/repository/models/fuel/load").status_code == 503


def test_a_model_without_its_routing_file_can_be_unloaded(lazy, routings):
    (routings / "fuel.json").unlink()

    assert lazy.post("/v2/repository/models/fuel/load").status_code == 200
    assert answered_by(lazy) == "1"
    assert lazy.post("/v2/repository/models/fuel/unload").status_code == 200
    assert lazy.post(PREDICT, json={"instances": [CAR]}).status_code == 503


@pytest.mark.parametrize("name", ["oil", "..%2ffuel", "%2e%2e", "fuel.json", "a%00b"])
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_model_that_never_had_a_routing_file_is_not_found(lazy, name, verb):
    answer = lazy.post(f"/v2/repository/models/{name}/{verb}")

    assert answer.status_code == 404
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'{"ready": 1}', b'{"all": true}', b"1"])
def test_a_malformed_request_for_the_index_is_refused(lazy, body):
    answer = lazy.post(INDEX, content=body)

    assert answer.status_code == 400
    assert "ready" in json.loads(answer.content)["error"]
