import json
import shutil
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from roadworthy.bundles import bundle
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from tests.serving.load import load

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
INFER = "/v2/models/fuel/infer"


def accepts(url: str) -> bool:
    try:
        httpx.get(f"{url}/v2/health/live")
    except httpx.HTTPError:
        return False
    return True


def test_kserves_own_routes_answer(server):
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v1/models").json() == {"models": ["fuel"]}
    assert server.get("/v1/models/fuel").json() == {"name": "fuel", "ready": True}
    assert server.get("/v2/models/fuel/ready").json() == {"name": "fuel", "ready": True}
    assert server.get("/v2").json()["name"] == "kserve"
    # which no file of the page hides
    assert server.get("/v2/models").json() == {"models": ["fuel"]}


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
        answer = server.client.request(method, path)
        assert answer.status_code == status, path
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("charset", ["application/json; charset=utf-8", "text/plain", ""])
def test_json_is_taken_under_whatever_name(server, charset):
    body = json.dumps({"instances": [CAR]}).encode()

    assert server.post(PREDICT, content=body, headers={"content-type": charset}).status_code == 200


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


def test_a_model_is_ready_when_its_routing_file_has_a_champion(
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

    # then it is known, not ready, and answers requests for it
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


def test_versions_change_under_constant_requests_and_a_damaged_one_is_refused(
    start, bundles, release, tmp_path, eventually
):
    # given a server under constant requests
    routings = tmp_path / "routing"
    first, second = release(1, bundles[0]), release(2, bundles[1])
    routes.write(routings, Routing("fuel", first))
    server = start("--routing", routings)
    with load(urlsplit(server.url).netloc) as clients:
        # when the champion changes to and fro
        for each in (second, first, second):
            routes.write(routings, Routing("fuel", each))
            now = (200, str(each.version))
            eventually(
                lambda now=now: all(client.seen[-1] == now for client in clients),
                f"version {each.version}",
            )

        # and then to one that is damaged
        broken = tmp_path / "broken"
        shutil.copytree(bundles[0].path, broken)
        (broken / bundle.GOLDEN).write_bytes(b"{}")
        routes.write(routings, Routing("fuel", routes.Release(3, str(broken), first.digest, "")))
        server.wait_for("Version 3 of fuel is refused, version 2 stays")

    # then no request failed, both versions answered, and the good one still does
    assert [client.failed for client in clients] == [[]] * 4
    assert {version for client in clients for _, version in client.seen} == {"1", "2"}
    assert {client.seen[-1][1] for client in clients} == {"2"}


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


def test_a_stop_under_load_answers_whoever_has_connected(start, bundles):
    # given a server that clients of a proxy without health checks ask all the time
    server = start("--bundle", bundles[0].path, "--version", 1, "--drain-seconds", 0.5)
    with load(urlsplit(server.url).netloc) as clients:
        # when it stops
        assert server.stop() == 0

    # then connections that were made are answered, but one between the last look and the close
    problems = [str(problem) for client in clients for problem in client.failed]
    assert sum(not text.startswith("ConnectionRefusedError") for text in problems) <= 1


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


def test_a_port_in_use_is_one_sentence(command, tmp_path):
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
