"""Many models at one server."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from roadworthy.bundles import bundle
from roadworthy.routing import routes

CAR = {"weight_kg": 1200, "year": 1980}
MOST_MIB = 25
"""How much memory a model may take."""


@pytest.fixture
def named(bundles, release, tmp_path):
    """Deploy the first bundle as a model of another name, perhaps with a damaged file."""
    of = bundles[0]
    files = {path: (of.path / path).read_bytes() for path in of.manifest.files}

    def write(directory: Path, name: str, *, damaged: bool = False) -> None:
        made = bundle.write(tmp_path / name, replace(of.manifest, model=name, files={}), files)
        if damaged:
            (made.path / bundle.MODEL).write_bytes(b"")
        routes.write(directory, routes.Routing(name, release(1, made)))

    return write


def resident(pid: int) -> float:
    """Return the memory of a process in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_a_model_takes_little_memory_and_a_broken_one_stops_no_other(
    start, named, tmp_path, eventually
):
    # given a server of one model
    directory = tmp_path / "routing"
    named(directory, "m0")
    server = start("--routing", directory)
    before = resident(server.process.pid)

    # when eight more are deployed, one of which has a damaged bundle
    named(directory, "m1", damaged=True)
    names = [f"m{number}" for number in range(2, 9)]
    for name in names:
        named(directory, name)
    eventually(lambda: all(server.get(f"/v2/models/{n}/ready").is_success for n in names), "all")

    # then each but that one answers
    for name in ("m0", *names):
        answer = server.post(f"/v1/models/{name}:predict", json={"instances": [CAR]})
        assert answer.status_code == 200
    assert server.get("/v2/models/m1/ready").status_code == 503
    assert resident(server.process.pid) - before < MOST_MIB * len(names)
