"""Tokens, CORS, headers, and the readiness of a server that is about to stop."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from pydantic import SecretStr

from roadworthy.cli.up import sample
from roadworthy.rollout.engine.verification import verify
from roadworthy.serving.settings import ServerError, ServerSettings, UsageError, read_token
from tests.serving.conftest import ORIGIN, TOKEN

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
OPEN = ["/v2/health/live", "/v2/health/ready", "/v2/models/fuel/ready"]
CLOSED = [
    *("/", "/index.html", "/nowhere", "/openapi.json", "/metrics", "/v1/models", "/v1/models/fuel"),
    *("/v2", "/v2/models", "/v2/models/fuel", "/v2/models/fuel/card", PREDICT),
    *("/v2/health/ready/", "/v2/health", "/v2/models/fuel/versions/1/ready", "//v2/health/live"),
]


def test_all_but_liveness_and_readiness_need_the_token(guarded):
    for path in OPEN:
        assert guarded.get(path).status_code == 200
    for path in CLOSED:
        for header in (
            {},
            {"authorization": "Bearer another"},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer {TOKEN}x"},
        ):
            answer = guarded.get(path, headers=header)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith('Bearer realm="roadworthy"')
            assert "Authorization: Bearer" in answer.json()["error"]
        with_token = guarded.get(path, headers={"authorization": f"Bearer {TOKEN}"})
        assert with_token.status_code != 401
    headers = {"authorization": f"bearer {TOKEN}"}
    assert guarded.post(PREDICT, json={"instances": [CAR]}, headers=headers).status_code == 200
    assert guarded.post(PREDICT, json={"instances": [CAR]}).status_code == 401


def test_a_port_of_its_own_has_the_metrics_without_the_token_and_nothing_else(guarded):
    with httpx.Client(base_url=f"http://127.0.0.1:{guarded.metrics_port}", trust_env=False) as port:
        assert "roadworthy_requests" in port.get("/metrics").text
        for path in (*OPEN, "/", "/v2/models/fuel", "/metrics/"):
            assert port.get(path).status_code == 404, path
        assert port.post(PREDICT, json={"instances": [CAR]}).status_code == 404


def test_a_token_is_read_from_a_file_or_a_variable_and_never_shown(tmp_path):
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert read_token(file, {"ROADWORTHY_TOKEN": "other"}) == "abc"
    assert read_token(None, {"ROADWORTHY_TOKEN": "other"}) == "other"
    assert read_token(None, {"ROADWORTHY_TOKEN": "other\n"}) == "other"
    assert read_token(None, {"ROADWORTHY_TOKEN": ""}) is None

    assert "abc" not in repr(ServerSettings(routing=tmp_path, token="abc"))
    with pytest.raises(UsageError) as caught:
        ServerSettings(routing=tmp_path, token="two words")
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_starts_no_server_that_is_open(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ServerError, match="token"):
        read_token(file, {"ROADWORTHY_TOKEN": "abc"})


def test_the_token_is_on_no_command_line_and_in_no_log(guarded, bundles):
    # when the rollout's verification requests answers with the token, and without
    verified = verify(guarded.url, "fuel", 1, bundles[0].golden, token=SecretStr(TOKEN))
    refused = verify(guarded.url, "fuel", 1, bundles[0].golden)

    # then it gets them, and no other user of the machine sees the token
    assert verified.good, verified.problem
    assert "401" in refused.problem
    assert sample(guarded.url, "fuel", SecretStr(TOKEN)).version == "1"
    commands = [
        Path(f"/proc/{pid}/cmdline").read_text() for pid in (guarded.process.pid, *guarded.children)
    ]
    assert len(commands) == 3
    assert all("--cors-origin" in one and TOKEN not in one for one in commands)
    assert TOKEN not in guarded.log.read_text()


def test_grpc_needs_the_token_too(guarded):
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(pb.ServerReadyRequest(), wait_for_ready=True).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="fuel")).ready
        for metadata in ((), [("authorization", "Bearer another")]):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelMetadata(pb.ModelMetadataRequest(name="fuel"), metadata=metadata)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {TOKEN}")]
        answer = stub.ModelMetadata(pb.ModelMetadataRequest(name="fuel"), metadata=metadata)
        assert answer.name == "fuel"


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


def test_pages_of_named_origins_may_ask(guarded):
    asked = guarded.client.options(PREDICT, headers=preflight(ORIGIN))
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in asked.headers["access-control-allow-methods"]
    allowed = asked.headers["access-control-allow-headers"]
    assert {"authorization", "content-type"} <= set(allowed.split(", "))
    assert asked.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in asked.headers

    # a refusal is readable as well
    for token, status in ((TOKEN, 200), ("another", 401)):
        headers = {"origin": ORIGIN, "authorization": f"Bearer {token}"}
        answer = guarded.post(PREDICT, json={"instances": [CAR]}, headers=headers)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-roadworthy-version" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "https://cars.example.org.evil.org", "*"]
)
def test_pages_of_other_origins_may_not(guarded, origin):
    asked = guarded.client.options(PREDICT, headers=preflight(origin))
    headers = {"origin": origin, "authorization": f"Bearer {TOKEN}"}
    answer = guarded.post(PREDICT, json={"instances": [CAR]}, headers=headers)

    for one in (asked, answer):
        assert "access-control-allow-origin" not in one.headers
        assert one.headers["vary"] == "origin"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        *(
            (path, "GET, HEAD, OPTIONS")
            for path in ("/", "*", "/v2/health/ready", "/v2/models/fuel")
        ),
        *((path, "OPTIONS, POST") for path in (PREDICT, "/v2/models/fuel/infer")),
    ],
)
def test_a_proxy_may_look_with_options(guarded, path, methods):
    # given a health check as `option httpchk` of haproxy sends it, without a token
    asked = guarded.client.options("/", extensions={"target": path.encode()})

    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["allow"] == methods


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v2", "/v2/models", "/v2/health/ready", "/v2/models/fuel/ready"]
)
def test_what_is_read_by_get_has_a_head(server, path):
    asked, got = server.client.head(path), server.get(path)

    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-length"] == str(len(got.content))


def test_responses_have_security_headers(server):
    for path in ("/v2", "/nowhere", "/metrics", "/openapi.json"):
        headers = server.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_a_browser_gets_the_page_with_its_own_policy_and_other_clients_a_status(server):
    page = server.get("/", headers={"accept": "text/html,*/*;q=0.8"})

    assert "<title>A page</title>" in page.text
    (policy,) = page.headers.get_list("content-security-policy")
    assert policy == (
        "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; "
        "script-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
    assert page.headers["cache-control"] == "no-cache"
    assert "javascript" in server.get("/page.js").headers["content-type"]
    assert server.get("/").json() == {"status": "alive"}


@pytest.mark.parametrize(
    "path",
    [
        *("/.hidden", "/.git/config", "/%2ehidden", "/%2e%2e/secret", "/outside"),
        *("/%00", "/..%2f..%2fetc/passwd", "/" + "x" * 5000),
    ],
)
def test_hidden_files_and_files_outside_are_not_given(server, path):
    answer = server.get(path)

    assert answer.status_code == 404
    assert "not for you" not in answer.text
    assert answer.json()["error"]


def test_before_a_stop_it_is_not_ready_and_still_answers(start, bundles, eventually, free_port):
    # given a server that drains
    port = free_port()
    options = ("--version", 1, "--drain-seconds", 10, "--grpc-port", port)
    server = start("--bundle", bundles[0].path, *options)
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/ready").status_code == 200

        # when it is to stop
        server.process.terminate()
        eventually(lambda: client.get("/v2/health/ready").status_code == 503, "not being ready")

        # then it lives, is not ready, and answers, also on a new connection
        for path in (
            "/v2/models/fuel/ready",
            "/v2/models/fuel/versions/1/ready",
            "/v1/models/fuel",
        ):
            assert client.get(path).status_code == 503
        assert client.get("/v2/health/live").status_code == 200
        for _ in range(2):
            answer = client.post(PREDICT, json={"instances": [CAR]})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            time.sleep(1.5)  # uvicorn makes its headers anew once a second
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            assert not stub.ServerReady(pb.ServerReadyRequest(), wait_for_ready=True).ready
            for version in ("", "1"):
                assert not stub.ModelReady(pb.ModelReadyRequest(name="fuel", version=version)).ready
        assert httpx.post(server.url + PREDICT, json={"instances": [CAR]}).status_code == 200

    # and ends
    assert server.process.wait(timeout=20) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_second_signal_stops_it_at_once(start, bundles, eventually):
    server = start("--bundle", bundles[0].path, "--version", 1, "--drain-seconds", 300)
    assert server.get("/v2/health/ready").status_code == 200
    server.process.terminate()
    eventually(lambda: server.get("/v2/health/ready").status_code == 503, "not being ready")

    assert server.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("protocol", "sent"), [("http", b""), ("http", b"P"), ("grpc", b"")], ids=str
)
def test_more_connections_than_files_lock_nobody_out(
    requires, command, bundles, tmp_path, free_port, protocol, sent
):
    # given a server that may open 256 files
    program = requires.program("prlimit", "apt-get install util-linux")
    log = (tmp_path / "log").open("w+")
    grpc_port = free_port()
    process = subprocess.Popen(
        [
            *(program, "--nofile=256:256"),
            *(*command, "--bundle", bundles[0].path, "--version", "1", "--port", "0"),
            *("--grpc-port", str(grpc_port)),
        ],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        url = httpx.URL(process.stdout.readline().split()[-1])
        busy = stack.enter_context(httpx.Client(base_url=url))
        assert busy.post(PREDICT, json={"instances": [CAR]}).status_code == 200

        # when clients open 400 connections and send no whole request
        address = (url.host, url.port if protocol == "http" else grpc_port)
        for _ in range(400):
            opened = stack.enter_context(socket.create_connection(address, timeout=10))
            with contextlib.suppress(ConnectionError):
                opened.sendall(sent)

        # then new clients are answered, and the log is not full of it
        for _ in range(3):
            answer = httpx.post(url.join(PREDICT), json={"instances": [CAR]}, timeout=5)
            assert answer.status_code == 200
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_it_runs_as_any_user_and_writes_nothing(requires, command, bundles, tmp_path, eventually):
    # given a directory that only root may write, and another user
    program = requires.program("setpriv", "apt-get install util-linux")
    home = Path(tempfile.mkdtemp())
    shutil.copytree(bundles[0].path, home, dirs_exist_ok=True)
    home.chmod(0o755)
    before = sorted(home.rglob("*"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOME", "XDG", "COV"))}
    try:
        process = subprocess.Popen(
            [
                *(program, "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(*command, "--bundle", home, "--version", "1", "--port", "0"),
            ],
            cwd="/",
            env=environment | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        greeting = process.stdout.readline()
        url = greeting.split()[-1].rstrip("/") if greeting else pytest.fail(process.stderr.read())

        # when it serves
        answer = httpx.post(url + PREDICT, json={"instances": [CAR]})
        files = Path(f"/proc/{process.pid}/fd")
        opened = []
        for file in files.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                opened.append(str(file.readlink()))

        # then it answers and has written nothing
        assert answer.status_code == 200
        assert Path(f"/proc/{process.pid}").stat().st_uid == 65534
        assert [one for one in opened if one.startswith(("/tmp", "/home", "/var"))] == []
        assert sorted(home.rglob("*")) == before
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        shutil.rmtree(home)


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("POST", "/v1/models/oil:predict", 'protocol="v1",status="404"'),
        ("GET", PREDICT, 'protocol="v1",status="405"'),
        ("POST", "/v2/nowhere", 'protocol="v2",status="404"'),
    ],
)
def test_errors_that_are_no_versions_are_counted_too(server, method, path, labels):
    def count() -> float:
        name = f'roadworthy_requests_total{{model="",{labels},version=""}} '
        found = [one for one in server.get("/metrics").text.splitlines() if one.startswith(name)]
        return float(found[0].split()[-1]) if found else 0

    before = count()
    server.client.request(method, path)

    assert count() == before + 1
