"""A team's parts: the data in S3, the registry at a server, the code at a Git server with a token.

Nothing but the settings differs from a run on a laptop alone.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg2
import pytest
from psycopg2 import sql

from .conftest import Workplace, clone

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(600)]

SAMPLE_SECONDS = 0.2


@dataclass
class Team:
    """What a team shares, and the secrets that lead there."""

    git_server: object
    mlflow: object
    s3: object
    storage: object
    bucket: str
    postgres: Path
    environment: dict[str, str]
    secrets: list[bytes]
    told: list[str] = field(default_factory=list)
    """What the commands printed."""

    def repository(self, *arguments: str) -> str:
        return self.git_server.git("cars.git", *arguments)

    def run(self, place: Workplace, *arguments: str, **variables: str):
        done = place.roadworthy(*arguments, **variables)
        self.told += [done.stdout, done.stderr]
        return done

    def objects(self) -> list[str]:
        return [key for key in self.s3.keys(self.bucket) if "/files/md5/" in key]


@pytest.fixture
def team(git_server, mlflow, postgres, s3, proxy) -> Iterator[Team]:
    """A team with a bucket and a Git server of its own, and nothing in the registry."""
    storage = proxy(s3.url)
    environment = {
        **s3.environment(storage.url),
        **mlflow.environment(),
        "ROADWORTHY_DVC_REMOTE": "s3",
        "ROADWORTHY_GIT_TOKEN": git_server.token,
        "GIT_TERMINAL_PROMPT": "0",
    }
    secrets = [git_server.token.encode(), s3.secret.encode()]
    bucket = s3.bucket()
    yield Team(git_server, mlflow, s3, storage, bucket, postgres, environment, secrets)
    # The registry's server is that of other tests too, whose Git servers have other releases.
    address = f"{mlflow.url}/api/2.0/mlflow/registered-models/delete"
    gone = httpx.request("DELETE", address, json={"name": "fuel"}, timeout=60)
    assert gone.status_code in (200, 404), gone.text


@pytest.fixture
def member(team, snapshot, tmp_path) -> Workplace:
    """A clone of somebody who has brought code and data to the team's places."""
    place = clone(snapshot, tmp_path / "clone")
    place.environment.update(team.environment)
    dvc(place, "remote", "modify", "s3", "url", f"s3://{team.bucket}/dvc")
    place.commit("Keep the data in our bucket")
    dvc(place, "pull", "--quiet", "data.csv.dvc")
    dvc(place, "push", "--quiet", "--remote", "s3", "data.csv.dvc")
    address = team.git_server.make("cars.git", like=place.path)
    place.environment["ROADWORTHY_GIT_REMOTE"] = address
    return place


def dvc(place: Workplace, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=place.path,
        env={**place.environment, "PATH": "/usr/bin:/bin", "HOME": str(place.path.parent)},
        check=True,
    )


@contextmanager
def watched(secrets: list[bytes]):
    """Look at the arguments of every process again and again; give those with a secret."""
    found: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    told = process.read_bytes()
                except OSError:  # it has ended meanwhile
                    continue
                found.update({told} if any(secret in told for secret in secrets) else ())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        ended.set()
        looking.join()


def tables(postgres: Path) -> bytes:
    """Everything that stands in the tables of MLflow's database."""
    with psycopg2.connect(user="roadworthy", dbname="postgres", host=str(postgres)) as connection:
        cursor = connection.cursor()
        cursor.execute("select tablename from pg_tables where schemaname = 'public'")
        rows = []
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))
            rows += [table, *map(repr, cursor.fetchall())]
    return "\n".join(rows).encode()


def written(team: Team, *places: Path) -> dict[str, bytes]:
    """Everything that runs wrote, anywhere."""
    found = {
        str(file): file.read_bytes()
        for place in places
        for file in place.rglob("*")
        if file.is_file() and not file.is_symlink()
    }
    for bucket in (team.bucket, team.mlflow.bucket):
        found |= {f"s3 {key}": team.s3.read(bucket, key) for key in team.s3.keys(bucket)}
    return found | {
        "what the commands printed": "".join(team.told).encode(),
        "MLflow's tables": tables(team.postgres),
    }


def test_a_team_trains_releases_and_serves(team, member):
    # given that S3 fails when the release is pushed
    before = team.objects()
    fault = team.storage.break_("500", method="PUT|POST", path="/dvc/files/md5")

    # when the pipeline runs
    with watched(team.secrets) as seen:
        failed = team.run(member, "run", "fuel", AWS_MAX_ATTEMPTS="1")

        # then it ends with the cause and the remedy
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert fault.hits
        assert "DVC could not push bundles/fuel.dvc: S3 has an internal error" in failed.stdout
        assert "Wait until it is fixed, and run again." in failed.stdout
        assert "Traceback" not in failed.stdout + failed.stderr
        # and nothing of it is visible to others
        assert team.repository("tag") == ""
        assert "bundles/fuel.dvc" not in team.repository("ls-tree", "-r", "--name-only", "main")
        assert team.objects() == before

        # when S3 is mended, if slow, and the pipeline runs again
        team.storage.mend()
        slow = team.storage.break_("delay", path="/dvc/files/md5", seconds=0.1)
        done = team.run(member, "run", "fuel")
    assert done.returncode == 0, done.stdout + done.stderr
    assert slow.hits

    # then the version is the same one, released once
    (version,) = member.json("models")
    assert (version["version"], version["aliases"]) == (1, ["champion"])
    assert team.repository("tag") == "fuel-v1"
    assert team.repository("log", "--format=%s", "main").count("Release fuel-v1") == 1
    assert version["bundle"] in team.repository("tag", "--list", "--format=%(contents)", "fuel-v1")
    assert version["commit"] == member.git("rev-parse", "HEAD")
    assert len(team.objects()) > len(before)
    # and figures, model and card are in the store of MLflow's server
    kept = [key for key in team.s3.keys(team.mlflow.bucket) if version["bundle"] in key]
    assert {key.rpartition("/")[2] for key in kept} >= {"manifest.json", "model.onnx", "card.md"}

    # and it answers
    with member.serving() as url:
        card = httpx.get(f"{url}/v2/models/fuel/card").json()
        body = {"instances": [card["request"]["example"]]}
        answer = httpx.post(f"{url}/v1/models/fuel:predict", json=body)
    assert answer.json()["predictions"][0]["l_per_100km"] > 0

    # and the secrets stand nowhere
    places = (member.path, team.git_server.root)
    everything = written(team, *places)
    assert len(everything) > 100
    assert [
        name for name, told in everything.items() if any(word in told for word in team.secrets)
    ] == []
    assert seen == set()
    assert member.git("status", "--porcelain") == ""


def test_two_homes_run_at_once(team, member, tmp_path):
    # given two homes, each with a server and a record of its own, that share everything else
    homes = [tmp_path / "home one", tmp_path / "home two"]
    before = len(member.json("models"))

    # when the pipeline of one model runs in both
    runs = [
        subprocess.Popen(
            member.command("run", "fuel", "--force"),
            cwd=member.path,
            env={**os.environ, **member.environment, "ROADWORTHY_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for home in homes
    ]
    told = [run.communicate()[0] for run in runs]

    # then both end well
    assert [run.returncode for run in runs] == [0, 0], told
    # and there is one version more, released once, and it is the champion
    versions = member.json("models")
    (champion,) = [found for found in versions if "champion" in found["aliases"]]
    assert champion["version"] == len(versions) == before + 1
    tag = f"fuel-v{champion['version']}"
    assert team.repository("tag") == tag
    assert team.repository("log", "--format=%s", "main").count("Release fuel") == 1
    assert champion["bundle"] in team.repository("tag", "--list", "--format=%(contents)", tag)
