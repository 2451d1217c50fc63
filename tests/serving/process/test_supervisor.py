"""Servers that are restarted, killed and stopped while clients send requests all the time."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from tests.loading import loaded_by
from tests.serving.load import BODY, PREDICT, load

SECONDS = 120
SERVER = "roadworthy/serving/process/server.py"
_COMMAND = (sys.executable, "-m", "roadworthy", "serve", "--port", "0")


class Supervised:
    """``roadworthy serve`` in a process of its own."""

    def __init__(self, home: Path, process: subprocess.Popen, log: Path, eventually) -> None:
        self.home = home
        self.process = process
        self.log = log
        self._eventually = eventually
        address = re.compile(r"http://\S+?(?=/\s)")
        self.until(
            lambda: address.search(log.read_text()) or process.poll() is not None, "a server"
        )
        found = address.search(log.read_text())
        assert found, log.read_text()
        self.url = found[0]
        self.address = urlsplit(self.url).netloc

    def until(self, so: Callable[[], object], what: str) -> None:
        text = lambda: f"{what}; it said {self.log.read_text()}"  # noqa: E731
        self._eventually(so, text, SECONDS)

    @property
    def serving(self) -> list[int]:
        """The processes that came to serve, the latest last."""
        return [int(pid) for pid in re.findall(r"Process (\d+) serves", self.log.read_text())]

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def restart(self) -> None:
        """Send SIGHUP and wait until another process serves."""
        count = len(self.serving)
        self.process.send_signal(signal.SIGHUP)
        self.until(lambda: len(self.serving) > count, "another server")

    def ask(self, **headers: str) -> tuple[int, str | None]:
        """Return the status and the version of an answer on a connection of its own."""
        answer = httpx.post(self.url + PREDICT, content=BODY, headers=headers, timeout=60)
        return answer.status_code, answer.headers.get("x-roadworthy-version")

    def counted(self) -> float:
        """How many answers some process says that there were."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        found = [line for line in text.splitlines() if line.startswith("roadworthy_requests_total")]
        return sum(float(line.split()[-1]) for line in found)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def supervised(bundles, release, tmp_path, eventually) -> Iterator[Callable[..., Supervised]]:
    """Start ``roadworthy serve`` in a home whose champion is version 1."""
    home = tmp_path / "home"
    routes.write(home / "routing", Routing("fuel", release(1, bundles[0])))
    log = tmp_path / "log"
    started: list[subprocess.Popen] = []

    def begin(
        *before: str, stdin: int = subprocess.DEVNULL, workers: int = 1, **variables: str
    ) -> Supervised:
        with log.open("w") as output:
            process = subprocess.Popen(
                [*before, *_COMMAND, "--workers", str(workers)],
                cwd=tmp_path,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "ROADWORTHY_HOME": str(home),
                    "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
                    "NO_PROXY": "127.0.0.1",
                    **variables,
                },
            )
        started.append(process)
        return Supervised(home, process, log, eventually)

    yield begin
    for process in started:
        process.terminate()
        process.wait(60)


@pytest.fixture
def code(root: Path, tmp_path: Path) -> Path:
    """A copy of the code, which a test may break."""
    copy = tmp_path / "code"
    shutil.copytree(root / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_a_restart_under_load_fails_no_request(supervised):
    # given a server under load, and an idle connection
    server = supervised()
    idle = HTTPConnection(server.address, timeout=60)

    def is_last() -> bool:
        """Whether a response on the idle connection is the last one on it."""
        idle.request("POST", PREDICT, BODY)
        answer = idle.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (200, True)
        return answer.headers["connection"] == "close"

    assert not is_last()
    with load(server.address) as clients:
        # when it is restarted, and again
        server.restart()
        server.restart()
    # then three processes served, no request failed, and the old ones leave
    assert len(set(server.serving)) == 3
    assert [client.failed for client in clients] == [[]] * 4
    server.until(is_last, "the last response of the old server")
    server.until(lambda: server.children == server.serving[-1:], "the end of the old ones")
    # and the next connection is the new server's, which keeps it
    assert not is_last()
    idle.close()


def test_a_challenger_that_comes_and_goes_under_load_fails_no_request(
    supervised, bundles, release, eventually
):
    # given a server of two processes under load, and a challenger
    server = supervised(workers=2)
    routing = server.home / "routing"
    champion, challenger = release(1, bundles[0]), release(2, bundles[1])

    def statuses() -> list[dict]:
        return httpx.get(f"{server.url}/v2/models/fuel/workers", timeout=60).json()["workers"]

    assert [(one["worker"], one["versions"]) for one in statuses()] == [
        (1, {"1": champion.digest}),
        (2, {"1": champion.digest}),
    ]
    pin = {"x-roadworthy-version": "2"}
    with load(server.address) as clients:
        routes.write(routing, Routing("fuel", champion, challenger, state="shifting"))
        server.until(lambda: all("2" in one["versions"] for one in statuses()), "both to load it")
        # when every process has loaded it, then all answer with it
        assert {server.ask(**pin) for _ in range(20)} == {(200, "2")}
        assert {one["versions"]["2"] for one in statuses()} == {challenger.digest}
        assert {one["state"] for one in statuses()} == {"shifting"}
        # when it is no longer deployed
        routes.write(routing, Routing("fuel", champion))
        eventually(lambda: server.ask(**pin)[0] == 404, "its end")
    # then no request failed, and only the champion answered the clients
    assert [client.failed for client in clients] == [[]] * 4
    assert {version for client in clients for _, version in client.seen} == {"1"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_process_is_replaced_and_loses_only_its_requests_in_flight(supervised, workers):
    # given a server that answered some requests
    server = supervised(workers=workers)
    assert {server.ask() for _ in range(30)} == {(200, "1")}
    server.until(lambda: server.counted() == 30, "the sum of all processes")
    # when a process is killed under load
    with load(server.address) as clients:
        os.kill(server.serving[-1], signal.SIGKILL)
        server.until(lambda: len(server.serving) == workers + 1, "another process")
    # then each client loses at most one request, and the metrics of the dead process stay
    assert "killed by SIGKILL); another one is started in 0 s" in server.log.read_text()
    assert all(len(client.failed) <= 1 for client in clients)
    assert all(client.seen[-1] == (200, "1") for client in clients)
    answered = 30 + sum(len(client.seen) - len(client.failed) for client in clients)
    server.until(lambda: server.counted() >= answered - 128, "the sum of all processes")
    # when it is restarted under load, then no request fails
    before = server.children
    with load(server.address) as clients:
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: len(server.serving) == 2 * workers + 1, "new processes")
    assert [client.failed for client in clients] == [[]] * 4
    server.until(lambda: not {*before} & {*server.children}, "the end of the old ones")


def test_new_code_that_does_not_start_leaves_the_old_server_in_its_place(supervised, code):
    # given a server of two processes under load, whose code is then broken
    server = supervised(workers=2, PYTHONPATH=str(code))
    broken = code / SERVER
    good = broken.read_text()
    with load(server.address) as clients:
        broken.write_text("raise RuntimeError('this is broken')\n")
        # when it is restarted
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: "the old one stays" in server.log.read_text(), "a refusal")
    # then one new process has tried, the log has its error, and no request failed
    assert sorted(server.children) == sorted(server.serving)
    assert server.log.read_text().count("RuntimeError: this is broken") == 1
    assert [client.failed for client in clients] == [[]] * 4
    # when a process dies, which cannot be replaced
    os.kill(server.serving[0], signal.SIGKILL)
    server.until(lambda: "another one is started in 1 s" in server.log.read_text(), "pauses")
    # then the other one takes its connections
    assert {server.ask() for _ in range(20)} == {(200, "1")}
    statuses = httpx.get(f"{server.url}/v2/models/fuel/workers", timeout=60).json()["workers"]
    assert [one["process"] for one in statuses] == [server.serving[1]]
    # and when the code is fixed, there are two again
    broken.write_text(good)
    server.until(lambda: len(server.serving) == 3, "another process")


def test_a_request_waits_for_the_only_process_until_it_is_replaced(supervised, code):
    # given a server whose code is broken, and which dies
    server = supervised(PYTHONPATH=str(code))
    broken = code / SERVER
    good = broken.read_text()
    broken.write_text("raise RuntimeError('this is broken')\n")
    os.kill(server.serving[-1], signal.SIGKILL)
    server.until(lambda: "another one is started in 1 s" in server.log.read_text(), "pauses")
    # when a request arrives before the code is fixed, then it is answered
    connection = HTTPConnection(server.address, timeout=SECONDS)
    connection.request("POST", PREDICT, BODY)
    broken.write_text(good)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_first_server_that_does_not_start_ends_it_with_its_error(supervised, code):
    (code / SERVER).write_text("import sys\nsys.exit('this is broken')\n")
    with pytest.raises(AssertionError, match="this is broken"):
        supervised(PYTHONPATH=str(code))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_supervisor(supervised, sign):
    # given a server, and an old one that leaves, with a connection each
    server = supervised("env", "--default-signal=INT")
    with httpx.Client(base_url=server.url) as old, httpx.Client(base_url=server.url) as new:
        assert old.post(PREDICT, content=BODY).status_code == 200
        server.restart()
        assert new.post(PREDICT, content=BODY).status_code == 200
        children = server.children
        # when the supervisor is stopped or killed
        server.process.send_signal(sign)
        code = server.process.wait(SECONDS)
    # then its processes end, and the port is free
    assert code == (0 if sign == signal.SIGINT else -sign)
    server.until(lambda: all(gone(pid) for pid in children), "the end of its children")
    socket.create_server(("127.0.0.1", urlsplit(server.url).port)).close()
    assert "Traceback" not in server.log.read_text()


def test_it_ends_when_its_terminal_is_closed(supervised):
    # given a server that was started at a terminal
    ours, theirs = pty.openpty()
    take = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    server = supervised(sys.executable, "-c", take, stdin=theirs)
    os.close(theirs)
    children = server.children
    # when a user sends SIGHUP, it is restarted
    server.restart()
    # when the closed terminal sends it, it ends
    os.close(ours)
    assert server.process.wait(SECONDS) == 0
    assert all(gone(pid) for pid in children)


def test_it_loads_nothing_heavy():
    loaded = loaded_by("import roadworthy.serving.process.supervisor")

    assert not loaded & {"kserve", "fastapi", "uvicorn", "numpy", "onnxruntime", "pydantic"}
