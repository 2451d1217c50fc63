"""The server is restarted for new code while somebody asks, and ends with whoever started it."""

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.ports import free_port, listens

from .conftest import Workplace, answers, wait_until
from .test_new_data import Customer

pytestmark = [pytest.mark.story, pytest.mark.slow]


@pytest.mark.parametrize("routing", ["there", "lost", "damaged"])
def test_a_restart_loses_no_request(released: Workplace, routing: str) -> None:
    # given a server that answers somebody all the time
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with released.started("serve", "--port", str(port)) as process:
        wait_until(lambda: answers(f"{url}/v2/health/ready") or process.poll() is not None)
        before = children(process.pid)
        client = Customer(url)
        client.start()
        wait_until(lambda: client.statuses)
        # and perhaps a routing file that somebody took away meanwhile
        file = released.path / ".roadworthy" / "routing" / "fuel.json"
        if routing == "lost":
            file.unlink()
        elif routing == "damaged":
            file.write_text("{")
        # when it is told to restart
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: children(process.pid) and not before & children(process.pid))
        count = len(client.statuses)
        wait_until(lambda: len(client.statuses) > count + 5 or not client.is_alive())
        # then another process answers, and nobody noticed
        assert client.is_alive()
        client.stop()
        assert set(client.statuses) == {200}
        # and a stop ends it well
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(set(re.findall(r"Process (\d+) serves", told))) == 2
    assert not listens(port)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_the_command_that_started_it(workplace: Workplace, sign) -> None:
    # given the first minute of a new user
    port = free_port()
    with workplace.started("up", "fuel", "--port", str(port)) as process:
        wait_until(
            lambda: answers(f"http://127.0.0.1:{port}/v2/health/live") or process.poll() is not None
        )
        assert process.poll() is None, process.stdout and process.stdout.read()
        # when the command is killed
        process.send_signal(sign)
        process.wait(60)
    # then its server is gone
    wait_until(lambda: not listens(port))


def test_another_program_at_the_port_is_told(released: Workplace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = released.roadworthy("up", "fuel", "--once", "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use by another program" in done.stderr


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
