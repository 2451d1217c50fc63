"""A server for a first look: started, asked one question, stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from roadworthy.errors import RoadworthyError
from roadworthy.rollout.connection import connect
from roadworthy.settings import Settings

_START_SECONDS = 60.0
_GRACE_SECONDS = 10.0


class StartError(RoadworthyError):
    """The server did not come up, or gives no answer."""


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
    """Run ``roadworthy serve`` while the block runs.

    Raises
    ------
    StartError
        It does not come up; its own words are told.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "roadworthy", "serve", "--port", str(port)],
            stdin=subprocess.DEVNULL,
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


def sample(url: str, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask the request that the model gives as its example; return it and the answer.

    Raises
    ------
    StartError
        There is no champion to answer.
    """
    try:
        with connect(url) as client:
            card = client.get(f"/v2/models/{model}/card").raise_for_status().json()
            request = card["request"]["example"]
            body = {"instances": [request]}
            answer = client.post(f"/v1/models/{model}:predict", json=body).raise_for_status()
            return request, answer.json()["predictions"][0]
    except httpx.HTTPError as error:
        raise StartError(
            f"{url} gives no answer for {model} ({error}). "
            f"`roadworthy models` tells whether there is a champion."
        ) from error


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            told = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise StartError(f"The model server did not start: {told[-1]}")
        try:
            with connect(url) as client:
                client.get("/v2/health/live").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise StartError(f"The model server did not come up in {_START_SECONDS:g} s; look at {log}.")
