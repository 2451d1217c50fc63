"""Run a model server for a first look, and send it one request."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pydantic import SecretStr

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.routing.routes import VERSION_HEADER

_START_SECONDS = 60.0
_GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.05
_GREETING = "Roadworthy serves "


class StartError(RoadworthyError):
    """The server did not come up, or gives no answer."""


class Sample(NamedTuple):
    """A request, its answer, and the version that gave it."""

    request: dict[str, Any]
    answer: dict[str, Any]
    version: str


@dataclass(frozen=True)
class Served:
    """A model server that runs beside this process."""

    url: str
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Return when the server has ended."""
        self.process.wait()


@contextmanager
def serving(settings: Settings, port: int) -> Iterator[Served]:
    """Run ``roadworthy serve`` while the block runs, and no longer than this process.

    Raises
    ------
    StartError
        It does not come up; the message is its own.
    """
    settings.make_home()
    log = settings.home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "roadworthy", "serve", "--port", str(port), "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield Served(url, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def sample(url: str, model: str, token: SecretStr | None = None) -> Sample:
    """Send the request that the model gives as its example.

    Raises
    ------
    StartError
        There is no champion to answer.
    """
    try:
        with connect(url, token) as client:
            card = client.get(f"/v2/models/{model}/card").raise_for_status().json()
            request = card["request"]["example"]
            body = {"instances": [request]}
            answer = client.post(f"/v1/models/{model}:predict", json=body).raise_for_status()
            version = answer.headers[VERSION_HEADER]
            return Sample(request, answer.json()["predictions"][0], version)
    except httpx.HTTPError as error:
        raise StartError(
            f"{url} gives no answer for {model} ({error}). "
            f"`roadworthy models` tells whether there is a champion."
        ) from error


def is_ready(url: str, model: str) -> bool:
    """Return whether a champion of the model answers."""
    with connect(url) as client:
        return client.get(f"/v2/models/{model}/ready").status_code == httpx.codes.OK


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            told = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise StartError(f"The model server did not start: {told[-1]}")
        # Only its greeting distinguishes it from another program that answers at this port.
        if _GREETING in log.read_text(errors="replace") and _lives(url):
            return
        time.sleep(_POLL_SECONDS)
    raise StartError(f"The model server did not come up in {_START_SECONDS:g} s; look at {log}.")


def _lives(url: str) -> bool:
    try:
        with connect(url) as client:
            return client.get("/v2/health/live").is_success
    except httpx.HTTPError:
        return False
