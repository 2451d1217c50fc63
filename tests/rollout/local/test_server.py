"""One server serves a home; the one that was killed is not in the way."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from roadworthy.core.settings import Settings
from roadworthy.rollout.local.server import AnnouncedError, address, announce, announced

URL = "http://127.0.0.1:8080"
HOLDER = (
    "import sys, time; from pathlib import Path; "
    "from roadworthy.rollout.local.server import announce\n"
    "with announce(Path(sys.argv[1]), sys.argv[2]):\n"
    "    print('holds', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, URL], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "holds\n"
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()


def test_a_server_is_announced_as_long_as_it_serves(tmp_path):
    home = tmp_path / "not" / "there"
    assert announced(home) == ""

    with announce(home, URL):
        assert announced(home) == URL

    assert announced(home) == ""


def test_a_second_server_is_refused_with_the_address_of_the_first(tmp_path, holder):
    assert announced(tmp_path) == URL
    with pytest.raises(AnnouncedError) as caught, announce(tmp_path, "http://127.0.0.1:9"):
        pytest.fail("two servers serve one home")

    assert URL in str(caught.value)
    assert announced(tmp_path) == URL


def test_a_server_that_was_killed_frees_its_home(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    assert announced(tmp_path) == ""
    with announce(tmp_path, "http://127.0.0.1:9"):
        assert announced(tmp_path) == "http://127.0.0.1:9"


def test_many_that_look_at_once_see_no_server_where_there_is_none(tmp_path):
    (tmp_path / "server.url").write_text(URL)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: announced(tmp_path), range(200)))

    assert found == {""}


def test_a_server_that_is_named_is_taken_else_the_one_that_serves_the_home(tmp_path):
    assert address(Settings(home=tmp_path)) == ""
    assert address(Settings(home=tmp_path, serving_url="http://127.0.0.1:1")) == (
        "http://127.0.0.1:1"
    )
    with announce(tmp_path, URL):
        assert address(Settings(home=tmp_path)) == URL
