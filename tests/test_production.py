"""docs/how-to/cluster.md: its commands do what it says, on the parts that it names."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg2
import pytest

from tests.conftest import version_sample
from tests.docs.pages import install, typed
from tests.ports import free_port

PATIENCE_SECONDS = 120


BLOCKS = typed("docs/how-to/cluster.md", __file__)


def block(word: str) -> str:
    """The one shell block of the page with a word, as one types it."""
    (one,) = (text for text in BLOCKS if word in text)
    return one


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs/how-to/cluster.md").read_text()


def filled(command: str, values: Mapping[str, str]) -> str:
    """A command with values in the places of words that a user replaces."""
    for word, value in values.items():
        assert word in command
        command = command.replace(word, value)
    assert ".example" not in command
    return command


@pytest.fixture
def clone(tmp_path) -> Path:
    """A directory with the environment of a clone."""
    place = tmp_path / "clone"
    place.mkdir()
    (place / ".venv").symlink_to(sys.prefix)
    return place


@pytest.fixture
def database(postgres) -> str:
    """The address of a database without a table."""
    name = "production"
    connection = psycopg2.connect(user="roadworthy", dbname="postgres", host=str(postgres))
    connection.autocommit = True
    connection.cursor().execute(f"create database {name}")
    connection.close()
    return f"postgresql+psycopg2://roadworthy@/{name}?host={postgres}"


@contextmanager
def started(command: str, place: Path, **variables: str):
    """Type a command that goes on; it is stopped with all that it started."""
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=place,
            env={**os.environ, **variables},
            stdout=log,
            stderr=log,
            process_group=0,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it ended by itself, and its log says why
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)


def arguments(group: int) -> list[bytes]:
    """The arguments of each process of a group."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(place.name)) == group:
                found.append((place / "cmdline").read_bytes())
        except OSError:  # it has ended meanwhile
            continue
    assert any(b"mlflow" in one for one in found)
    return found


def answered(process: subprocess.Popen, place: Path, url: str, **options) -> httpx.Response:
    """The first answer of what was started."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return httpx.get(url, timeout=10, **options)
        except httpx.TransportError:
            assert process.poll() is None, (place / "log.txt").read_text()
            assert time.monotonic() < deadline, (place / "log.txt").read_text()
            time.sleep(0.05)


def test_the_data_goes_to_the_bucket_as_the_page_says(page, root, s3, tmp_path):
    # Given a clone in which everything is installed, and a bucket
    place, bucket = tmp_path / "clone", s3.bucket()
    subprocess.run(["git", "clone", "--quiet", "--no-local", root, place], check=True)
    version_sample(place, place / ".dvc" / "embedded")
    install(place)
    command = filled(
        block("dvc push --remote s3\n"), {"https://s3.example": s3.url, "BUCKET": bucket}
    )
    known = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    variables = {name: word for name, word in s3.environment().items() if name not in known}

    # When its command is typed, with the keys that it asks for, and once more
    told = [ended(command, place, f"{s3.key}\n{s3.secret}\n", **variables) for _ in range(2)]

    # Then one sees what the page says, and the bucket has the data
    words = "`1 file pushed`, and once more `Everything is up to date.`"
    assert words in page
    assert "1 file pushed" in told[0]
    assert "Everything is up to date." in told[1]
    content = (place / "data.csv").read_bytes()
    (key,) = s3.keys(bucket, "dvc/files/md5")
    assert s3.read(bucket, key) == content
    assert s3.secret not in "".join(told)


def test_the_registry_starts_as_the_page_says(page, clone, database, s3):
    # Given a database and a bucket, whose addresses a user puts where the page has examples
    host, port, bucket = "mlflow.cars.test", free_port(), s3.bucket()
    (clone / "address").write_text(database)
    command = filled(
        block("mlflow server"),
        {
            "FILE": "address",
            "0.0.0.0 --port 5000": f"127.0.0.1 --port {port}",
            "mlflow.example": host,
            "BUCKET": bucket,
        },
    )
    told = re.search(r"`curl \"https://mlflow\.example(/\S+)\"` answers", page)
    url = f"http://127.0.0.1:{port}"
    known = {"host": host}  # as what stands before it, with TLS, passes it on

    # When its command is typed
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    few = {"MLFLOW_WORKERS": "1"}
    with started(command, clone, **s3.environment(), **quiet, **few) as process:
        # Then it answers as the page says
        answer = answered(process, clone, f"{url}{told[1]}", headers=known)
        assert answer.status_code == 200, answer.text
        assert '"experiments"' in answer.text
        # And to no other name
        assert httpx.get(f"{url}{told[1]}").status_code == 403
        # And what it is given is in the bucket
        path = "/api/2.0/mlflow-artifacts/artifacts/card.md"
        put = httpx.put(f"{url}{path}", content=b"# Card", headers=known, timeout=60)
        assert put.status_code == 200, put.text
        # And the database's address, which holds a password, is no argument of a process
        assert not any(b"postgresql" in one for one in arguments(process.pid))
    assert s3.read(bucket, "mlflow/card.md") == b"# Card"


def ended(command: str, place: Path, stdin: str = "", **variables: str) -> str:
    """Type a command, and what it asks for; return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=place,
        env={**os.environ, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_secret_is_filled_and_settings_are_read_as_the_page_says(page, kube, tmp_path):
    # Given a cluster whose namespace has the settings of the steps
    namespace, there = kube.namespace(), "--namespace roadworthy"
    settings = {"ROADWORTHY_RECORDS": "s3://cars/records", "ROADWORTHY_ACTOR": "the pipe's line"}
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "roadworthy", "namespace": namespace},
            "data": settings,
        }
    )
    path = f"{kube.assets}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "KUBECONFIG": str(kube.kubeconfig), "HOME": str(tmp_path)}

    # When the value is typed that its command asks for
    fill = filled(
        block("create secret generic roadworthy-git"),
        {there: f"--namespace {namespace}", ">FILE": ">value", "=FILE": "=value"},
    )
    told = ended(fill, tmp_path, "glpat-0\n", **variables)

    # Then the secret has it, without the line's end, and nobody else may read the file
    assert told.splitlines()[-1] == "secret/roadworthy-git serverside-applied"
    key = 'go-template={{index .data "ROADWORTHY_GIT_TOKEN" | base64decode}}'
    get = ("--namespace", namespace, "get", "secret", "roadworthy-git", "--output", key)
    assert kube.kubectl(*get) == "glpat-0"
    assert (tmp_path / "value").stat().st_mode & 0o077 == 0

    # When the command is typed that takes the settings from the cluster
    read, told, _ = block("go-template").partition("unset ")
    assert told
    take = filled(read, {there: f"--namespace {namespace}"})
    found = ended(f"{take}\nenv", tmp_path, **variables).splitlines()

    # Then they are in the environment
    assert {f"{name}={value}" for name, value in settings.items()} <= set(found)
