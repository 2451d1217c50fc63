"""The terminals in which a user types the blocks of a page."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ports import free_port

from .conftest import Workplace, answers, wait_until


class Terminal:
    """Two shells in a clone, one of which serves. A free port stands for the pages' 8080."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.port = str(free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.place.environment["PORT"] = self.port  # `make run` takes it
        self.typed: set[str] = set()

    def type(self, text: str, *, fails: bool | None = False) -> str:
        """Type a block, and return what it prints. None: it may fail."""
        done = self.place.type(text.replace("8080", self.port))
        self.typed |= set(text.splitlines())
        told = done.stdout + done.stderr
        assert fails is None or bool(done.returncode) == fails, text + told
        return told

    @contextmanager
    def serving(self, text: str) -> Iterator[Path]:
        """Type a command that serves until Ctrl-C; give the file of what it prints."""
        log = self.place.path.parent / "log.txt"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["env", "--default-signal=INT", *self.place.shell(text)],
                cwd=self.place.path,
                env={**os.environ, **self.place.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        ready = f"{self.url}/v2/models/fuel/ready"
        try:
            wait_until(lambda: answers(ready) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield log
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)

    def version(self) -> str:
        """Return the version that answers a request."""
        body = {"instances": [{"weight_kg": 1200, "year": 1980}]}
        answer = httpx.post(f"{self.url}/v1/models/fuel:predict", json=body)
        return answer.headers["x-roadworthy-version"]
