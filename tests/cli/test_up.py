"""The server for a first look: a real one, and what is said when it does not come up."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from roadworthy.cli.up import StartError, sample, serving
from roadworthy.core.settings import Settings
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing
from tests.ports import free_port, listens


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Settings:
    """A home with no clone around it, which the server takes from the environment."""
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


def test_it_serves_while_the_block_runs(place, packed):
    # given a champion
    model = packed.manifest.model
    release = Release(1, str(packed.path), packed.digest, "2026-01-02T03:04:05+00:00")
    routes.write(place.routing, Routing(model, champion=release))
    port = free_port()
    # when a server is started for a first look
    with serving(place, port) as served:
        request, answer, version = sample(served.url, model)
        # then it answers the request that the model gives as its example
        assert set(packed.manifest.request["required"]) <= set(request)
        assert set(packed.manifest.answer["properties"]) == set(answer)
        assert version == "1"
    # and with the block it ends
    assert served.process.returncode == 0
    served.wait()
    assert not listens(port)


def test_a_model_without_a_champion_is_told(place):
    with serving(place, free_port()) as served, pytest.raises(StartError) as told:
        sample(served.url, "fuel")

    assert f"{served.url} gives no answer for fuel" in str(told.value)
    assert "`roadworthy models` tells whether there is a champion" in str(told.value)


def test_a_server_that_does_not_come_up_is_told_in_its_own_words(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as told, serving(place, port):
            pytest.fail("it serves at a port that is taken")

    assert f"Port {port} of 127.0.0.1 is in use by another program" in str(told.value)


def test_a_server_that_serves_already_is_no_substitute(place, tmp_path, monkeypatch):
    # given a server for another home
    with serving(place, free_port()) as other:
        port = httpx.URL(other.url).port
        # when one is started at its port, then it does not pass for that one
        elsewhere = Settings(home=tmp_path / "elsewhere")
        monkeypatch.setenv("ROADWORTHY_HOME", str(elsewhere.home))
        with pytest.raises(StartError, match="in use"), serving(elsewhere, port):
            pytest.fail("another server was taken for the one that was started")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_whoever_started_it(place, sign):
    # given a process that started a server
    port = free_port()
    script = (
        "import sys, time; from pathlib import Path; "
        "from roadworthy.core.settings import Settings; "
        "from roadworthy.cli.up import serving\n"
        "with serving(Settings(home=Path(sys.argv[1])), int(sys.argv[2])) as served:\n"
        "    print('serving', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(place.home), str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "serving\n"
    assert listens(port)
    # when it is killed
    os.kill(process.pid, sign)
    process.communicate()
    # then the server is gone too
    deadline = time.monotonic() + 60
    while listens(port):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.05)
