"""Who may ask, from which pages, what answers tell, and what a server is when it must stop."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from pydantic import SecretStr

from roadworthy.cli.up import sample
from roadworthy.rollout.engine.verification import verify
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.serving.http.guard import has_token
from roadworthy.serving.settings import ServerError, ServerSettings, UsageError, read_token

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
TOKEN = "T0ken-of.the~server+/=="
ORIGIN = "https://cars.example.org"
OPEN = ["/v2/health/live", "/v2/health/ready", "/v2/models/fuel/ready"]
CLOSED = [
    *("/", "/index.html", "/nowhere", "/openapi.json", "/metrics", "/v1/models", "/v1/models/fuel"),
    *("/v2", "/v2/models", "/v2/models/fuel", "/v2/models/fuel/card", PREDICT),
    *("/v2/health/ready/", "/v2/health", "/v2/models/fuel/versions/1/ready", "//v2/health/live"),
]


@pytest.fixture(scope="module")
def guarded(bundles, start, client_directory, tmp_path_factory):
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    return start(
        *("--bundle", bundles[0].path, "--version", 1, "--client", client_directory),
        *("--token-file", file, "--cors-origin", ORIGIN, "--cors-origin", "http://localhost:3000"),
    )


@pytest.mark.parametrize("path", OPEN)
def test_whether_it_lives_and_is_ready_is_told_to_everyone(guarded, path):
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_demands_the_token(guarded, path):
    for header in ({}, {"authorization": "Bearer another"}, {"authorization": f"Basic {TOKEN}"}):
        answer = httpx.get(guarded.url + path, headers=header)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="roadworthy"')
        assert "Authorization: Bearer" in answer.json()["error"]
    with_token = httpx.get(guarded.url + path, headers={"authorization": f"Bearer {TOKEN}"})
    assert with_token.status_code != 401


def test_with_the_token_requests_are_answered(guarded):
    body = {"instances": [CAR]}
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {TOKEN}"}
        assert guarded.post(PREDICT, json=body, headers=headers).status_code == 200
    assert guarded.post(PREDICT, json=body).status_code == 401


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        (b"Bearer abc", True),
        (b"  bearer   abc ", True),
        (b"Bearer abcd", False),
        (b"Bearer ab", False),
        (b"Bearer ", False),
        (b"abc", False),
        (b"", False),
        (b"Bearer \xff", False),
        (None, False),
    ],
)
def test_a_token_is_known_or_not(shown, known):
    assert has_token(shown, "abc") is known


def test_a_token_is_read_from_a_file_or_a_variable_and_never_told(tmp_path):
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


def test_the_token_is_on_no_command_line_and_in_no_log(guarded):
    assert TOKEN not in Path(f"/proc/{guarded.process.pid}/cmdline").read_text()
    assert TOKEN not in guarded.log.read_text()


SUPERVISED = """
import sys
from pathlib import Path
from roadworthy.serving.settings import ServerSettings
from roadworthy.serving.process.supervisor import supervise
settings = ServerSettings(
    routing=Path(sys.argv[1]), port=0, token=sys.argv[2], cors_origins=(sys.argv[3],)
)
sys.argv[2:] = []
sys.exit(supervise(settings))
"""


def test_a_supervised_server_gets_the_token_and_nobody_else_sees_it(bundles, release, tmp_path):
    # given a supervisor with a token
    routes.write(tmp_path, Routing("fuel", release(1, bundles[0])))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISED, tmp_path, TOKEN, ORIGIN],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        url = process.stdout.readline().split()[-1].rstrip("/")
        pid = process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        # when the rollout's verification asks with it, and without
        golden = bundles[0].golden
        known = verify(url, "fuel", 1, golden, token=SecretStr(TOKEN))
        unknown = verify(url, "fuel", 1, golden)
        first = sample(url, "fuel", SecretStr(TOKEN))

        # then it is answered, and the token is on no command line of a server, and in no log
        assert known.good, known.problem
        assert "401" in unknown.problem
        assert first.version == "1"
        arguments = Path(f"/proc/{child}/cmdline").read_text()
        assert "--cors-origin" in arguments
        assert TOKEN not in arguments
        assert TOKEN not in (tmp_path / "log").read_text()
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_grpc_demands_the_token_too(bundles, start, monkeypatch, free_port):
    monkeypatch.setenv("ROADWORTHY_TOKEN", TOKEN)
    port = free_port()
    start("--bundle", bundles[0].path, "--version", 1, "--grpc-port", port)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(pb.ServerReadyRequest(), wait_for_ready=True).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="fuel")).ready
        for metadata in ((), [("authorization", "Bearer another")]):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelMetadata(pb.ModelMetadataRequest(name="fuel"), metadata=metadata)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        shown = [("authorization", f"Bearer {TOKEN}")]
        answer = stub.ModelMetadata(pb.ModelMetadataRequest(name="fuel"), metadata=shown)
        assert answer.name == "fuel"


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


def test_pages_of_named_origins_may_ask(guarded):
    asked = httpx.options(guarded.url + PREDICT, headers=preflight(ORIGIN))
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
    asked = httpx.options(guarded.url + PREDICT, headers=preflight(origin))
    headers = {"origin": origin, "authorization": f"Bearer {TOKEN}"}
    answer = guarded.post(PREDICT, json={"instances": [CAR]}, headers=headers)

    for one in (asked, answer):
        assert "access-control-allow-origin" not in one.headers
        assert one.headers["vary"] == "origin"


def test_without_named_origins_there_is_no_cors(server):
    asked = httpx.options(server.url + PREDICT, headers=preflight(ORIGIN))

    assert asked.status_code == 405
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize("origin", ["*", "null", "cars.example.org", "https://a.org/path", ""])
def test_what_is_no_origin_is_refused(tmp_path, origin):
    with pytest.raises(UsageError, match="is not an origin"):
        ServerSettings(routing=tmp_path, cors_origins=(origin,))


@pytest.mark.parametrize("path", ["/v2", "/v1/models", "/nowhere", "/metrics", "/openapi.json"])
def test_answers_are_no_pages(server, path):
    headers = server.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_the_requests_in_flight_are_told(server):
    told = server.get("/metrics").text

    # who asks how the server fares is not counted
    assert "roadworthy_in_flight 0.0" in told


def test_the_page_has_its_own_policy_once(server):
    headers = server.get("/", headers={"accept": "text/html"}).headers

    (policy,) = headers.get_list("content-security-policy")
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/.hidden", "/.git/config", "/%2ehidden", "/sub/.hidden", "/%2e%2e/secret", "/outside"]
)
def test_what_begins_with_a_dot_or_lies_outside_is_not_given(
    bundles, start, tmp_path, path, dotted
):
    assert dotted.get("/page.js").status_code == 200
    answer = dotted.get(path)

    assert answer.status_code == 404
    assert "not for you" not in answer.text


@pytest.fixture(scope="module")
def dotted(bundles, start, tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    client = directory / "client"
    for name in (".hidden", ".git/config", "sub/.hidden", "page.js", "../secret"):
        file = client / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("not for you")
    (client / "outside").symlink_to(directory / "secret")
    return start("--bundle", bundles[0].path, "--version", 1, "--client", client)


def test_told_to_stop_it_is_not_ready_first_and_still_answers(start, bundles, eventually):
    # given a server that drains
    server = start("--bundle", bundles[0].path, "--version", 1, "--drain-seconds", 3)
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/ready").status_code == 200

        # when it is told to stop
        server.process.terminate()
        eventually(lambda: client.get("/v2/health/ready").status_code == 503, "not being ready")

        # then it lives, is not ready, and answers, also on a new connection
        for path in ("/v2/models/fuel/ready", "/v1/models/fuel"):
            assert client.get(path).status_code == 503
        assert client.get("/v2/health/live").status_code == 200
        assert client.post(PREDICT, json={"instances": [CAR]}).status_code == 200
        assert server.post(PREDICT, json={"instances": [CAR]}).status_code == 200

    # and ends
    assert server.process.wait(timeout=20) == 0
    assert "Traceback" not in server.log.read_text()


def test_told_twice_it_stops_at_once(start, bundles, eventually):
    server = start("--bundle", bundles[0].path, "--version", 1, "--drain-seconds", 300)
    assert server.get("/v2/health/ready").status_code == 200
    server.process.terminate()
    eventually(lambda: server.get("/v2/health/ready").status_code == 503, "not being ready")

    assert server.stop(signal.SIGTERM) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_it_runs_as_anybody_and_writes_nothing(requires, command, bundles, tmp_path, eventually):
    # given a place where nobody but root may write, and somebody who may write nowhere else
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


def test_a_refusal_names_field_bound_unit_and_row(server):
    rows = [CAR, CAR | {"weight_kg": 9999}, CAR | {"year": "x"}]

    answer = server.post(PREDICT, json={"instances": rows})

    assert answer.status_code == 422
    document = json.loads(answer.content)
    assert document["error"].startswith("In row 1, weight_kg is out of range: send 700 to 2400 kg.")
    assert [(one["row"], one["field"], one["unit"]) for one in document["details"]] == [
        (1, "weight_kg", "kg"),
        (2, "year", "year"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("POST", "/v1/models/oil:predict", 'protocol="v1",status="404"'),
        ("GET", PREDICT, 'protocol="v1",status="405"'),
        ("POST", "/v2/nowhere", 'protocol="v2",status="404"'),
    ],
)
def test_what_no_version_refused_is_counted_as_well(server, method, path, labels):
    def count() -> float:
        name = f'roadworthy_requests_total{{model="",{labels},version=""}} '
        found = [one for one in server.get("/metrics").text.splitlines() if one.startswith(name)]
        return float(found[0].split()[-1]) if found else 0

    before = count()
    httpx.request(method, f"{server.url}{path}")

    assert count() == before + 1
