import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from roadworthy.bundles import bundle
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from tests.loading import loaded_by

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
INFER = "/v2/models/fuel/infer"


def accepts(url: str) -> bool:
    try:
        httpx.get(f"{url}/v2/health/live")
    except httpx.HTTPError:
        return False
    return True


def test_the_golden_batch_is_answered_over_http_as_it_was_trained(server, bundles):
    golden = bundles[0].golden

    answer = server.post(PREDICT, json={"instances": golden.requests})

    assert answer.headers["x-roadworthy-version"] == "1"
    for found, expected in zip(answer.json()["predictions"], golden.answers, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


def test_kserves_own_routes_answer(server):
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v1/models").json() == {"models": ["fuel"]}
    assert server.get("/v1/models/fuel").json() == {"name": "fuel", "ready": True}
    assert server.get("/v2/models/fuel/ready").json() == {"name": "fuel", "ready": True}
    assert server.get("/v2").json()["name"] == "kserve"
    assert server.get("/openapi.json").json()["paths"]


def test_the_figures_count_what_was_answered_and_refused(server):
    def count(status: int) -> float:
        labels = f'model="fuel",protocol="v1",status="{status}",version="1"'
        lines = server.get("/metrics").text.splitlines()
        found = [one for one in lines if one.startswith(f"roadworthy_requests_total{{{labels}}}")]
        return float(found[0].split()[-1]) if found else 0

    before = count(200), count(422)
    server.post(PREDICT, json={"instances": [CAR]})
    server.post(PREDICT, json={"instances": [CAR | {"year": 1}]})

    assert (count(200), count(422)) == (before[0] + 1, before[1] + 1)


def test_the_repository_api_says_what_is_loaded_and_takes_nothing_off_the_road(server):
    assert server.post("/v2/repository/models/fuel/load").status_code == 200
    assert server.post("/v2/repository/models/oil/load").status_code == 404
    assert server.post("/v2/repository/models/oil/unload").status_code == 404
    refused = server.post("/v2/repository/models/fuel/unload")
    assert refused.status_code == 409
    assert "deployed" in refused.json()["error"]
    assert server.get("/v1/models").json() == {"models": ["fuel"]}


def test_errors_of_kserves_routes_are_json_with_a_sentence(server):
    for method, path, status in (
        ("GET", "/v1/models/oil", 404),
        ("GET", "/v2/models/oil/ready", 404),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 405),
        ("DELETE", "/v2/health/ready", 405),
        ("GET", PREDICT, 405),
        ("GET", "/v2/nowhere", 404),
    ):
        answer = httpx.request(method, server.url + path)
        assert answer.status_code == status, path
        assert isinstance(answer.json()["error"], str)


def test_a_large_body_is_refused_with_and_without_a_length(server):
    body = b" " * 5_000_000
    parts = [body[n : n + 65536] for n in range(0, len(body), 65536)]

    with_length = server.post(PREDICT, content=body)
    chunked = server.post(PREDICT, content=iter(parts))

    assert (with_length.status_code, chunked.status_code) == (413, 413)
    assert "at most 100000 bytes" in chunked.json()["error"]
    assert server.post(PREDICT, json={"instances": [CAR]}).status_code == 200


@pytest.mark.parametrize("charset", ["application/json; charset=utf-8", "text/plain", ""])
def test_json_is_taken_under_whatever_name(server, charset):
    body = json.dumps({"instances": [CAR]}).encode()

    assert server.post(PREDICT, content=body, headers={"content-type": charset}).status_code == 200


def test_a_browser_gets_the_page_and_kserves_client_its_status(server):
    page = server.get("/", headers={"accept": "text/html,*/*;q=0.8"})

    assert "<title>A page</title>" in page.text
    assert page.headers["content-security-policy"] == (
        "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; "
        "script-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "javascript" in server.get("/page.js").headers["content-type"]
    assert server.get("/").json() == {"status": "alive"}


@pytest.mark.parametrize("path", ["/%00", "/..%2f..%2fetc/passwd", "/" + "x" * 5000, "/v2/models"])
def test_the_page_hides_no_api_and_gives_nothing_else_away(server, path):
    answer = server.get(path)

    assert answer.status_code == (200 if path == "/v2/models" else 404)
    assert answer.json() == ({"models": ["fuel"]} if path == "/v2/models" else answer.json())


def test_it_listens_on_loopback_only(server):
    port = urlsplit(server.url).port
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]

    assert listening == [f"0100007F:{port:04X}"]


def test_nothing_is_logged_for_a_request(server):
    before = server.log.read_text()

    server.post(PREDICT, json={"instances": [CAR]})
    server.post(PREDICT, json={"instances": [{}]})
    server.get("/v1/models/oil")
    server.get("/v2/health/ready")

    assert server.log.read_text() == before


def test_a_model_is_known_and_ready_from_when_its_road_appears(
    start, bundles, release, tmp_path, eventually
):
    # given a server on an empty routing file
    server = start("--routing", tmp_path)
    assert server.get("/v2/health/live").status_code == 200
    assert server.get("/v2/health/ready").status_code == 503
    assert server.get("/v1/models/fuel").status_code == 404
    assert server.post(PREDICT, json={"instances": [CAR]}).status_code == 404

    # when only a challenger appears
    routes.write(tmp_path, Routing("fuel", None, release(1, bundles[0])))
    eventually(lambda: server.get("/v2/models/fuel").status_code == 200, "the model")

    # then it is known, not ready, and answers who asks for it
    for path in ("/v2/health/ready", "/v1/models/fuel", "/v2/models/fuel/ready"):
        assert server.get(path).status_code == 503
    unpinned = server.post(PREDICT, json={"instances": [CAR]})
    assert (unpinned.status_code, unpinned.headers["retry-after"]) == (503, "1")
    pin = {"x-roadworthy-version": "1"}
    assert server.post(PREDICT, json={"instances": [CAR]}, headers=pin).status_code == 200

    # when it is promoted, then the server is ready
    routes.write(tmp_path, Routing("fuel", release(1, bundles[0])))
    eventually(lambda: server.get("/v2/health/ready").status_code == 200, "readiness")
    assert server.get("/v1/models/fuel").status_code == 200
    assert server.post(PREDICT, json={"instances": [CAR]}).status_code == 200


class Asking:
    """Two threads that ask for ever, and what became of each request, in order."""

    def __init__(self, url: str) -> None:
        self.seen: list[tuple[object, str | None]] = []
        self._address = urlsplit(url).netloc
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = HTTPConnection(self._address, timeout=60)
        while not self._stopping.is_set():
            try:
                connection.request("POST", PREDICT, json.dumps({"instances": [CAR]}))
                answer = connection.getresponse()
                answer.read()
                self.seen.append((answer.status, answer.headers["x-roadworthy-version"]))
            except (OSError, HTTPException) as error:
                self.seen.append((repr(error), None))
                connection.close()


def test_versions_change_under_constant_requests_and_a_damaged_one_is_refused(
    start, bundles, release, tmp_path, eventually
):
    # given a server under constant requests
    routings = tmp_path / "routing"
    first, second = release(1, bundles[0]), release(2, bundles[1])
    routes.write(routings, Routing("fuel", first))
    server = start("--routing", routings)
    with Asking(server.url) as asking:
        # when the champion changes to and fro
        for turn, release_ in enumerate((second, first, second)):
            routes.write(routings, Routing("fuel", release_))
            now = (200, str(release_.version))
            eventually(
                lambda now=now: now in asking.seen[-1:],
                lambda now=now, turn=turn: (
                    f"version {now[1]} in turn {turn}, last seen {asking.seen[-3:]}, "
                    f"log {server.log.read_text()}"
                ),
            )

        # and then to one that is damaged
        broken = tmp_path / "broken"
        shutil.copytree(bundles[0].path, broken)
        (broken / bundle.GOLDEN).write_bytes(b"{}")
        routes.write(routings, Routing("fuel", routes.Release(3, str(broken), first.digest, "")))
        server.wait_for("Version 3 of fuel is refused, version 2 stays")
        count = len(asking.seen)
        eventually(lambda: len(asking.seen) > count + 5, "some more answers")

    # then no request failed, both versions answered, and the good one still does
    assert {status for status, _ in asking.seen} == {200}
    assert {version for _, version in asking.seen} == {"1", "2"}
    assert asking.seen[-1][1] == "2"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_a_fixed_bundle_and_stops_cleanly(start, bundles, sign):
    server = start("--bundle", bundles[0].path, "--version", 9)
    with httpx.Client(base_url=server.url) as client:
        answer = client.post(PREDICT, json={"instances": [CAR]})
        assert answer.headers["x-roadworthy-version"] == "9"

        assert server.stop(sign) == 0

    assert "Traceback" not in server.log.read_text()


def test_a_request_that_is_under_way_is_answered_before_it_stops(start, bundles, eventually):
    server = start("--bundle", bundles[0].path, "--version", 1)
    body = json.dumps({"instances": [CAR]}).encode()
    connection = HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("POST", PREDICT)
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:10])
    # an answer to another request shows that the server has gone on past the first one's headers
    assert server.get("/v2/health/live").status_code == 200

    server.process.terminate()
    eventually(lambda: not accepts(server.url), "the end of new connections")
    connection.send(body[10:])

    assert connection.getresponse().status == 200
    assert server.process.wait(timeout=20) == 0


def test_it_imports_nothing_that_trains(command):
    loaded = loaded_by("import roadworthy.serving.process.server, roadworthy.serving.__main__")

    heavy = {"sklearn", "mlflow", "dvc", "kfp", "kserve", "pandas", "PIL"}
    assert not loaded & {*heavy, "roadworthy.models.contract"}


def test_a_body_that_never_comes_does_not_keep_it_from_stopping(start, bundles):
    server = start("--bundle", bundles[0].path, "--version", 1, "--grace-seconds", 1)
    connection = HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("POST", PREDICT)
    connection.putheader("content-length", "100")
    connection.endheaders(b"{")
    assert server.get("/v2/health/live").status_code == 200

    server.process.terminate()

    assert connection.getresponse().status == 408
    assert server.process.wait(timeout=20) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_it_serves_ends_it_cleanly(bundles, sign):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from roadworthy.serving.process.server import ServerSettings, serve\n"
        "settings = ServerSettings(bundle=Path(sys.argv[1]), version=1, port=0)\n"
        "serve(settings, announce=lambda line: os.kill(os.getpid(), int(sys.argv[2])))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, bundles[0].path, str(int(sign))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_port_in_use_is_told_in_one_sentence(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = subprocess.run(
            [*command, "--routing", tmp_path, "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} of 127.0.0.1 is in use by another program. "
        f"Stop that program, or choose another port with --port.\n"
    )
    assert done.stdout == ""
