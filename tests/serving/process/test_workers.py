"""What processes tell each other, in this process: directories and sockets are real."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from roadworthy.serving.models.model_store import ModelVersions
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.process import worker_status, workers
from roadworthy.serving.process.siblings import accept_from
from roadworthy.serving.process.workers import WorkerRegistry
from roadworthy.serving.settings import ServerError, ServerSettings, listen


def test_a_process_alone_tells_of_itself():
    board = WorkerRegistry(None)
    assert board.read() == []

    board.write({"fuel": {"state": ""}})

    assert board.read() == [
        {"worker": 1, "process": os.getpid(), "models": {"fuel": {"state": ""}}}
    ]


def test_every_process_is_told_of_until_it_is_forgotten(tmp_path):
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


def test_what_a_process_was_doing_is_forgotten_and_what_it_counted_is_not(tmp_path):
    for name in ("counter_77.db", "gauge_livesum_77.db", "gauge_livesum_78.db"):
        (tmp_path / name).touch()

    workers.forget(tmp_path, 77)

    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "counter_77.db",
        "gauge_livesum_78.db",
    ]


def test_a_directory_is_a_supervisors_own_and_goes_with_it(tmp_path):
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
        # then one's own is empty, only what nobody uses is gone
        assert list(directory.iterdir()) == []
        assert {one.name for one in parent.iterdir()} == {
            str(os.getppid()),
            directory.name,
            "notes",
        }
    assert not directory.exists()


def test_without_a_place_it_is_a_scratch_directory():
    with workers.shared(None) as directory:
        assert directory.is_dir()
    assert not directory.exists()


def test_what_every_process_holds_is_told_also_of_one_that_holds_nothing(tmp_path, loaded):
    champion, challenger = loaded
    model = ModelVersions("fuel", champion, challenger, weight=10, state="shifting")
    ready = WorkerRegistry(tmp_path, 1)
    ready.write({"fuel": worker_status.status(model)})

    (only,) = worker_status.all_statuses(ready, "fuel")["workers"]
    assert only["versions"] == {"1": champion.release.digest, "2": challenger.release.digest}
    assert only["split"] == [
        {"version": 1, "role": "champion", "weight": 90, "share": 90},
        {"version": 2, "role": "challenger", "weight": 10, "share": 10},
    ]

    # when another one starts, as it does in a process of its own
    workers._file(tmp_path, 1).write_text('{"worker": 2, "process": 1, "models": {}}')

    # then not every process holds a version any more
    last = worker_status.all_statuses(ready, "fuel")["workers"][-1]
    assert last == {"worker": 2, "process": 1, "versions": {}, "split": [], "state": ""}


def test_a_model_that_no_process_knows_is_not_found():
    with pytest.raises(Rejection, match="There is no model 'oil' here") as caught:
        worker_status.all_statuses(WorkerRegistry(None), "oil")

    assert caught.value.status == 404


def test_each_worker_has_a_socket_at_the_same_address():
    sockets = listen(ServerSettings(bundle="b", version=1, port=0, workers=3))

    assert len({one.getsockname() for one in sockets}) == 1
    for one in sockets:
        one.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_that_others_share_is_taken_all_the_same(count):
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


def test_what_waits_at_a_neighbours_socket_is_taken():
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
