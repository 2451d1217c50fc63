"""The registry and the sockets of workers."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from roadworthy.serving.process import workers
from roadworthy.serving.process.siblings import accept_from
from roadworthy.serving.process.workers import WorkerRegistry
from roadworthy.serving.settings import ServerError, ServerSettings, listen


def test_every_process_is_registered_until_it_is_forgotten(tmp_path):
    # given two processes, of which one has just written something else
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from roadworthy.serving.process.workers import WorkerRegistry\n"
        "import os\nWorkerRegistry(Path(sys.argv[1]), 2).write({'oil': {}})\nprint(os.getpid())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    ours = WorkerRegistry(tmp_path, 1)
    ours.write({})
    ours.write({"fuel": {}})

    assert [(one["worker"], one["models"]) for one in ours.read()] == [
        (1, {"fuel": {}}),
        (2, {"oil": {}}),
    ]

    # when the other one has ended
    workers.forget(tmp_path, int(other.stdout))
    workers.forget(tmp_path, int(other.stdout))

    # then only one is left
    assert [one["worker"] for one in ours.read()] == [1]


def test_a_supervisor_has_a_directory_and_removes_abandoned_ones(tmp_path):
    # given what a supervisor left that was killed, and what one has that lives
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    parent = tmp_path / "metrics"
    for name in (ended.stdout.strip(), str(os.getppid()), str(os.getpid()), "notes"):
        (parent / name).mkdir(parents=True)
        (parent / name / "counter_1.db").touch()

    with workers.shared(parent) as directory:
        # then one's own is empty, and only abandoned ones are gone
        assert list(directory.iterdir()) == []
        assert {one.name for one in parent.iterdir()} == {
            str(os.getppid()),
            directory.name,
            "notes",
        }
    assert not directory.exists()


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_that_workers_share_is_in_use_for_others(count):
    sockets = listen(ServerSettings(bundle="b", version=1, port=0, workers=2))
    port = sockets[0].getsockname()[1]

    with pytest.raises(ServerError, match=f"Port {port} of 127.0.0.1 is in use"):
        listen(ServerSettings(bundle="b", version=1, port=port, workers=count))

    for one in sockets:
        one.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def test_connections_at_a_siblings_socket_are_accepted():
    async def ask(listener: socket.socket) -> list[bytes]:
        accepting = asyncio.create_task(accept_from([listener], Echo, 0.01))
        said = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"hello")
            said.append(await asyncio.wait_for(reader.read(5), 20))
            writer.close()
        accepting.cancel()
        return said

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(ask(listener)) == [b"hello"] * 3
