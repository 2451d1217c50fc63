"""A real MLflow server that keeps its tables in a real PostgreSQL and its artifacts in S3."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.ports import free_port

if TYPE_CHECKING:
    from tests.parts.proxy import Proxy

PATIENCE_SECONDS = 120
_NOBODY = 65534
_LET_GO = "listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off"


@dataclass(frozen=True)
class MLflow:
    """The server's address, where its artifacts are, and what stands between it and S3."""

    url: str
    bucket: str
    storage: Proxy

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that works on it."""
        # Who tests faults does not wait for them to pass.
        return {"ROADWORTHY_MLFLOW_TRACKING_URI": self.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


@pytest.fixture(scope="session")
def postgres(requires) -> Iterator[Path]:
    """The directory of a PostgreSQL: its socket, where it is reached, and its data."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = programs[-1] if programs else requires.program("initdb", "apt-get install postgresql")
    # Not below pytest's directory, which another user may not enter; and a socket's path is short.
    place = Path(tempfile.mkdtemp(prefix="rw-pg-"))
    # It refuses to run as root.
    other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    if other:
        os.chown(place, _NOBODY, _NOBODY)
    options = ("--username=roadworthy", "--auth=trust", "--encoding=UTF8", "--no-sync")
    locale = ("--locale=C",)
    data = place / "data"
    subprocess.run(
        [initdb, *options, *locale, data], check=True, capture_output=True, cwd=place, **other
    )
    settings = [word for value in _LET_GO for word in ("-c", value)]
    command = [Path(initdb).with_name("postgres"), "-D", data, "-k", place, *settings]
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **other
        )
    try:
        _wait(process, place / "log.txt", (place / ".s.PGSQL.5432").exists)
        yield place
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def mlflow(postgres, s3, lasting_proxy, tmp_path_factory) -> Iterator[MLflow]:
    """An MLflow server; tests that share it name models of their own."""
    bucket = s3.bucket()
    log = tmp_path_factory.mktemp("mlflow") / "log.txt"
    database = f"postgresql+psycopg2://roadworthy@/postgres?host={postgres}"
    storage = lasting_proxy(s3.url)
    variables = {**s3.environment(storage.url), "AWS_MAX_ATTEMPTS": "2"}
    with _serving(database, f"s3://{bucket}/artifacts", variables, log) as url:
        yield MLflow(url, bucket, storage)


@contextmanager
def _serving(database: str, artifacts: str, variables: dict[str, str], log: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    kept = ("--backend-store-uri", database, "--artifacts-destination", artifacts)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *kept],
            cwd=log.parent,
            env={
                **os.environ,
                **variables,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        _wait(process, log, lambda: _answers(f"{url}/health"))
        yield url
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            _end_group(process.pid)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _wait(process: subprocess.Popen[bytes], log: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _end_group(group: int) -> None:
    """End what the server started and left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
