"""Servers that are restarted, killed and stopped while customers ask all the time."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from roadworthy.core.settings import Settings
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.serving.__main__ import parser
from roadworthy.serving.process import supervisor
from roadworthy.serving.settings import ServerError, ServerSettings
from tests.loading import loaded_by

PREDICT = "/v1/models/fuel:predict"
BODY = json.dumps({"instances": [{"weight_kg": 1200, "year": 1980}]}).encode()
PATIENCE_SECONDS = 120
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
        told = lambda: f"{what}; it said {self.log.read_text()}"  # noqa: E731
        self._eventually(so, told, PATIENCE_SECONDS)

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
        told = httpx.get(f"{self.url}/metrics", timeout=60).text
        found = [line for line in told.splitlines() if line.startswith("roadworthy_requests_total")]
        return sum(float(line.split()[-1]) for line in found)

    def is_free(self) -> bool:
        """Whether somebody else could listen at its port."""
        try:
            socket.create_server(("127.0.0.1", urlsplit(self.url).port)).close()
        except OSError:
            return False
        return True


class Customer(threading.Thread):
    """Asks all the time, and remembers what became of every request."""

    def __init__(self, server: Supervised) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.seen: list[tuple[object, str | None]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with ExitStack() as stack:
            ask = self.asking(stack)
            # A short rest now and then: both a busy and an idle connection meet the restart.
            while not self.stopping.wait(0.02 if len(self.seen) % 7 == 0 else 0):
                try:
                    self.seen.append(ask())
                except (OSError, HTTPException, httpx.HTTPError) as error:
                    self.seen.append((repr(error), None))

    def asking(self, stack: ExitStack) -> Callable[[], tuple[int, str | None]]:
        raise NotImplementedError

    @property
    def failed(self) -> list[object]:
        return [status for status, _ in self.seen if status != 200]


class Regular(Customer):
    """Keeps its connection."""

    def asking(self, stack):
        client = stack.enter_context(httpx.Client(base_url=self.server.url, timeout=60))

        def ask():
            answer = client.post(PREDICT, content=BODY)
            return answer.status_code, answer.headers["x-roadworthy-version"]

        return ask


class Stranger(Customer):
    """Connects for every request."""

    def asking(self, stack):
        def ask():
            connection = HTTPConnection(self.server.address, timeout=60)
            try:
                connection.request("POST", PREDICT, BODY)
                answer = connection.getresponse()
                answer.read()
                return answer.status, answer.headers["x-roadworthy-version"]
            finally:
                connection.close()

        return ask


@contextmanager
def asked(server: Supervised) -> Iterator[list[Customer]]:
    """Two customers of each kind, who have had some answers when the block begins and ends."""
    customers = [kind(server) for kind in (Regular, Regular, Stranger, Stranger)]

    def some_more() -> None:
        before = [len(customer.seen) for customer in customers]
        server.until(
            lambda: all(len(c.seen) > n + 5 for c, n in zip(customers, before, strict=True)),
            "some more answers",
        )

    for customer in customers:
        customer.start()
    try:
        some_more()
        yield customers
        some_more()
    finally:
        for customer in customers:
            customer.stopping.set()
        for customer in customers:
            customer.join(PATIENCE_SECONDS)


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
    # given a server under constant requests
    server = supervised()
    with asked(server) as customers:
        # when it is restarted, and again
        server.restart()
        server.restart()
    # then three processes served, no request failed, and those before have left
    assert len(set(server.serving)) == 3
    assert [customer.failed for customer in customers] == [[]] * 4
    server.until(lambda: server.children == server.serving[-1:], "the end of those before")


def test_a_connection_that_idles_through_a_restart_is_answered_once_more(supervised):
    # given an idle connection
    server = supervised()
    connection = HTTPConnection(server.address, timeout=60)

    def ask() -> bool:
        """Whether this was the last answer on this connection."""
        connection.request("POST", PREDICT, BODY)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (200, True)
        return answer.headers["connection"] == "close"

    assert not ask()
    # when the server is restarted
    server.restart()
    # then each request on it is answered, and an answer says that it was the last one
    server.until(ask, "the last answer of the old server")
    server.until(lambda: server.children == server.serving[-1:], "its end")
    # and the next connection is the new server's, which keeps it
    assert not ask()
    connection.close()


def test_a_challenger_that_comes_and_goes_under_load_fails_no_request(
    supervised, bundles, release, eventually
):
    # given a server under constant requests, and a challenger
    server = supervised()
    settings = Settings(home=server.home)

    def pinned() -> int:
        pin = {"x-roadworthy-version": "2"}
        return httpx.post(server.url + PREDICT, content=BODY, headers=pin).status_code

    with asked(server) as customers:
        routes.write(
            settings.routing, Routing("fuel", release(1, bundles[0]), release(2, bundles[1]))
        )
        eventually(lambda: pinned() == 200, "the challenger")
        # when it is taken no longer deployed
        routes.write(settings.routing, Routing("fuel", release(1, bundles[0])))
        eventually(lambda: pinned() == 404, "its end")
    # then no request failed, and nobody was answered by it
    assert [customer.failed for customer in customers] == [[]] * 4
    assert {version for customer in customers for _, version in customer.seen} == {"1"}


def test_a_killed_server_is_replaced(supervised):
    # given a server under constant requests
    server = supervised()
    with asked(server) as customers:
        # when it is killed
        os.kill(server.serving[-1], signal.SIGKILL)
        server.until(lambda: len(server.serving) == 2, "another server")
    # then another one answers, and who was being answered is all who lost a request
    assert "killed by SIGKILL); another one is started in 0 s" in server.log.read_text()
    assert all(len(customer.failed) <= 1 for customer in customers)
    assert all(customer.seen[-1] == (200, "1") for customer in customers)


def test_several_workers_are_restarted_under_load_without_failing_a_request(supervised):
    # given a server of two processes under constant requests
    server = supervised(workers=2)
    before = server.serving
    assert len(before) == 2
    with asked(server) as customers:
        # when it is restarted
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: len(server.serving) == 4, "two others")
    # then no request failed, and those before have left
    assert [customer.failed for customer in customers] == [[]] * 4
    server.until(lambda: sorted(server.children) == sorted(server.serving[2:]), "their end")
    assert not {*before} & {*server.children}


def test_a_worker_that_is_killed_is_replaced_and_loses_only_what_it_was_answering(supervised):
    # given a server of two processes under constant requests
    server = supervised(workers=2)
    with asked(server) as customers:
        # when one is killed
        os.kill(server.serving[0], signal.SIGKILL)
        server.until(lambda: len(server.serving) == 3, "another worker")
    # then another one takes its place, and who was being answered is all who lost a request
    told = server.log.read_text()
    assert "killed by SIGKILL); another one is started in 0 s" in told
    assert len(re.findall(r"Process \d+ serves as worker \d", told)) == 3
    assert all(len(customer.failed) <= 1 for customer in customers)
    assert all(customer.seen[-1] == (200, "1") for customer in customers)


def test_a_worker_that_cannot_be_replaced_leaves_its_connections_to_the_other(supervised, code):
    # given a server of two processes whose code is then broken
    server = supervised(workers=2, PYTHONPATH=str(code))
    (code / SERVER).write_text("raise RuntimeError('broken')\n")
    # when one is killed
    os.kill(server.serving[0], signal.SIGKILL)
    server.until(lambda: "another one is started in 1 s" in server.log.read_text(), "pauses")
    # then the other one answers everybody, and tells of itself alone
    assert {server.ask() for _ in range(20)} == {(200, "1")}
    told = httpx.get(f"{server.url}/v2/models/fuel/workers", timeout=60).json()["workers"]
    assert [one["process"] for one in told] == [server.serving[1]]


def test_new_code_that_does_not_start_is_tried_by_one_worker(supervised, code):
    server = supervised(workers=2, PYTHONPATH=str(code))
    (code / SERVER).write_text("raise RuntimeError('broken')\n")

    server.process.send_signal(signal.SIGHUP)
    server.until(lambda: "the old one stays" in server.log.read_text(), "a refusal")

    assert server.ask() == (200, "1")
    assert sorted(server.children) == sorted(server.serving)
    assert server.log.read_text().count("the old one stays") == 1


def test_the_figures_are_those_of_all_processes_also_of_one_that_died(supervised):
    # given a server of two processes that answered
    server = supervised(workers=2)
    assert {server.ask() for _ in range(30)} == {(200, "1")}
    server.until(lambda: server.counted() == 30, "the sum of both")
    # when one dies
    os.kill(server.serving[0], signal.SIGKILL)
    server.until(lambda: len(server.serving) == 3, "another worker")
    # then nothing is forgotten, and whoever is asked tells it
    assert {server.ask() for _ in range(10)} == {(200, "1")}
    server.until(lambda: server.counted() == 40, "the sum of three")
    assert {server.counted() for _ in range(10)} == {40}


def test_a_new_version_is_told_when_every_process_holds_it(supervised, bundles, release):
    # given a server of two processes
    server = supervised(workers=2)
    champion, challenger = release(1, bundles[0]), release(2, bundles[1])

    def told() -> list[dict]:
        return httpx.get(f"{server.url}/v2/models/fuel/workers", timeout=60).json()["workers"]

    assert [(one["worker"], one["versions"]) for one in told()] == [
        (1, {"1": champion.digest}),
        (2, {"1": champion.digest}),
    ]
    # when a challenger comes
    routes.write(
        server.home / "routing", Routing("fuel", champion, challenger, weight=10, state="shifting")
    )
    server.until(lambda: all("2" in one["versions"] for one in told()), "both to hold it")
    # then whoever is asked for it answers
    assert {server.ask(**{"x-roadworthy-version": "2"}) for _ in range(20)} == {(200, "2")}
    assert {one["versions"]["2"] for one in told()} == {challenger.digest}
    assert [[part["weight"] for part in one["split"]] for one in told()] == [[90, 10]] * 2
    assert {one["state"] for one in told()} == {"shifting"}
    assert httpx.get(f"{server.url}/v2/models/oil/workers").status_code == 404


def test_several_workers_say_who_they_are_and_stop_together(start, bundles, eventually):
    # given a server that is started without its supervisor being asked for
    server = start("--bundle", bundles[0].path, "--version", 7, "--workers", 2)
    assert server.post(PREDICT, content=BODY).headers["x-roadworthy-version"] == "7"
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 2
    # when it is told to stop
    assert server.stop() == 0
    # then all do, and each line of theirs names who says it
    assert all(gone(int(child)) for child in children)
    for worker in (1, 2):
        assert f"INFO worker {worker}: Stopped by SIGTERM." in server.log.read_text()


def test_new_code_that_does_not_start_leaves_the_old_server_in_its_place(supervised, code):
    # given a server under constant requests, whose code is then broken
    server = supervised(PYTHONPATH=str(code))
    broken = code / SERVER
    good = broken.read_text()
    with asked(server) as customers:
        broken.write_text("raise RuntimeError('this is broken')\n")
        # when it is restarted
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: "the old one stays" in server.log.read_text(), "a refusal")
        # then the old one answers, and the log says why
        assert server.children == server.serving
        assert "RuntimeError: this is broken" in server.log.read_text()
        # and once it is mended, a restart works
        broken.write_text(good)
        server.restart()
    assert [customer.failed for customer in customers] == [[]] * 4


def test_a_server_that_keeps_dying_is_started_again_until_it_lives(supervised, code):
    # given a server whose code is broken
    server = supervised(PYTHONPATH=str(code))
    broken = code / SERVER
    good = broken.read_text()
    broken.write_text("raise RuntimeError('this is broken')\n")
    # when it dies
    os.kill(server.serving[-1], signal.SIGKILL)
    server.until(lambda: "another one is started in 1 s" in server.log.read_text(), "pauses")
    # then a request waits until it is mended
    connection = HTTPConnection(server.address, timeout=PATIENCE_SECONDS)
    connection.request("POST", PREDICT, BODY)
    broken.write_text(good)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_first_server_that_does_not_start_ends_it_with_its_words(supervised, code):
    broken = code / SERVER
    broken.write_text("import sys\nsys.exit('this is broken')\n")
    with pytest.raises(AssertionError, match="this is broken"):
        supervised(PYTHONPATH=str(code))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_with_all_it_started(supervised, sign):
    # given a server, another that leaves, with a connection each
    server = supervised("env", "--default-signal=INT")
    with httpx.Client(base_url=server.url) as old, httpx.Client(base_url=server.url) as new:
        assert old.post(PREDICT, content=BODY).status_code == 200
        server.restart()
        assert new.post(PREDICT, content=BODY).status_code == 200
        children = server.children
        # when it is told to stop
        server.process.send_signal(sign)
        code = server.process.wait(PATIENCE_SECONDS)
    # then it does, and nothing is left
    assert code == 0
    assert all(gone(pid) for pid in children)
    assert server.is_free()
    assert "Traceback" not in server.log.read_text()


def test_no_server_outlives_a_supervisor_that_is_killed(supervised):
    server = supervised()
    children = server.children
    assert children

    server.process.kill()
    server.process.wait(PATIENCE_SECONDS)

    server.until(lambda: all(gone(pid) for pid in children), "the end of its children")
    assert server.is_free()


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
    # when SIGHUP comes from a person, it is restarted
    server.restart()
    # when it comes from the terminal, which is closed, it ends
    os.close(ours)
    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert all(gone(pid) for pid in children)


def test_a_port_in_use_is_told_in_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "roadworthy", "serve", "--port", str(port)],
            cwd=tmp_path,
            env={
                **os.environ,
                "ROADWORTHY_HOME": str(tmp_path / "home"),
                "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == (
        f"Error: Port {port} of 127.0.0.1 is in use by another program. "
        f"Stop that program, or choose another port with --port.\n"
    )


def test_a_directory_that_is_not_there_is_told_before_anything_is_started(tmp_path):
    with pytest.raises(ServerError, match="There is no directory"):
        supervisor.supervise(ServerSettings(routing=tmp_path / "nowhere", port=0))


def test_figures_that_cannot_be_written_are_told_before_anything_is_started(tmp_path):
    taken = tmp_path / "a file"
    taken.touch()

    with pytest.raises(ServerError, match=r"cannot write metrics to .*a file .*--metrics-dir"):
        supervisor.supervise(ServerSettings(routing=tmp_path, port=0, metrics_dir=taken))


def test_a_server_gets_the_settings_of_its_supervisor():
    settings = ServerSettings(
        routing=Path("a directory"),
        port=0,
        client=Path("page"),
        max_rows=7,
        poll_seconds=0.05,
        cors_origins=("https://one.example.org", "https://two.example.org"),
        workers=3,
        metrics_dir=Path("figures"),
    )

    parsed = vars(parser().parse_args(list(supervisor._arguments(settings))))

    del parsed["supervised"], parsed["with_parent"], parsed["token_file"]
    parsed["cors_origins"] = tuple(parsed["cors_origins"])
    assert ServerSettings(**parsed) == settings


def test_pauses_grow_up_to_a_limit():
    assert [supervisor._pause(deaths) for deaths in (0, 1, 2, 3, 99)] == [0, 0.5, 1, 2, 30]


def test_it_loads_nothing_heavy():
    loaded = loaded_by("import roadworthy.serving.process.supervisor")

    heavy = {"kserve", "fastapi", "uvicorn", "numpy", "onnxruntime", "pydantic"}
    assert not loaded & heavy
