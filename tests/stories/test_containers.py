"""The compiled pipeline in containers of its image, from the data to a served prediction."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from roadworthy.tracking import records
from tests.ports import free_port

from .conftest import PATIENCE_SECONDS, Workplace, answers, git, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(900)]

CAR = {"weight_kg": 1200, "year": 1980, "origin": "usa"}
STEPS = [
    *("checkout", "prepare", "train", "evaluate", "gate"),
    *("release", "stage", "canary", "promote", "report"),
]
NOBODY = 65532


@pytest.fixture
def home(docker, workplace: Workplace, tmp_path: Path) -> Path:
    """A home with the embedded remotes, which belongs to nobody where that can be arranged."""
    home = tmp_path / "home"
    (home / "routing").mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", "--bare", str(workplace.path), str(home / "remote.git"))
    docker.push_commit(home / "remote.git")
    if os.getuid() == 0:
        for place in (home, *home.rglob("*")):
            os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    return home


def test_from_data_to_a_served_prediction_in_containers(docker, workplace, home, tmp_path) -> None:
    # given a server of the serving image that watches the routing file of a home
    owner = home.stat()
    user = f"{owner.st_uid}:{owner.st_gid}"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with docker.started(
        docker.serving,
        *("--routing", str(home / "routing"), "--port", str(port), "--poll-seconds", "0.05"),
        volumes={str(home): {"bind": str(home), "mode": "rw"}},
        network_mode="host",
        read_only=True,
        cap_drop=["ALL"],
        user=user,
    ):
        wait_until(lambda: answers(f"{url}/v2/health/live"))
        # when the pipeline that was compiled for the image runs in containers
        package = tmp_path / "fuel.yaml"
        compiling = ["pipelines.compiler", "--image", docker.pipeline, "--output", package, "fuel"]
        subprocess.run([sys.executable, "-m", *compiling], cwd=workplace.path, check=True)
        arguments = {"commit": workplace.git("rev-parse", "HEAD")}
        variables = {"ROADWORTHY_HOME": str(home), "ROADWORTHY_SERVING_URL": url}
        variables |= {"ROADWORTHY_RUN": "first"}
        log = tmp_path / "log.txt"
        with log.open("wb") as written:
            engine = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pipelines.local", "--docker"),
                    *(package, home / "artifacts", json.dumps(arguments)),
                ],
                cwd=workplace.path,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        with engine:
            status = engine.wait(PATIENCE_SECONDS)
        # then every step did its work, which its record says and not the engine alone
        assert status == 0, log.read_text()
        told = {record.step: record for record in records.read(str(home / "runs"), "first")}
        assert {step: told[step].state for step in told} == dict.fromkeys(STEPS, "done")
        assert json.loads((home / "runs" / "first" / "report.json").read_text())["outcome"] == (
            "released"
        )
        # and version 1, tagged and tried, is what a customer is answered by
        assert git(home / "remote.git", "-c", "safe.directory=*", "tag") == "fuel-v1"
        asked = httpx.post(f"{url}/v1/models/fuel:predict", json={"instances": [CAR]}, timeout=30)
        assert asked.status_code == httpx.codes.OK, asked.text
        assert 3 < asked.json()["predictions"][0]["l_per_100km"] < 30
        # and nothing in the home is of another user, nor a container left
        others = [
            str(place)
            for place in (home / "runs", home / "bundles")
            for place in place.rglob("*")
            if place.stat().st_uid != owner.st_uid
        ]
        assert others == []
        running = docker.client.containers.list(all=True, filters={"ancestor": docker.pipeline})
        assert running == []
