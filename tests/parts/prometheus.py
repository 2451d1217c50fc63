"""A real Prometheus, which reads what it is told to several times a second."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import tenacity

from tests.ports import free_port

SECONDS = 60
"""How long a busy machine may take to start it."""
_CONFIG = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: models
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
"""


@pytest.fixture(scope="session")
def scraper(requires: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraper]:
    """A Prometheus that is there as long as the tests, and stopped by its process id."""
    program = requires.program("prometheus", "apt-get install --no-install-recommends prometheus")
    made = Scraper(program, tmp_path_factory.mktemp("prometheus"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@dataclass
class Scraper:
    """A Prometheus, and what it reads.

    Attributes
    ----------
    url
        Its address.
    """

    program: str
    directory: Path
    url: str = ""
    _targets: list[dict[str, Any]] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; again at another port where one was taken meanwhile."""
        (self.directory / "prometheus.yaml").write_text(_CONFIG)
        self._write()
        for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(3), reraise=True):
            with attempt:
                self.stop()
                self._start()

    def read(self, address: str, **labels: str) -> None:
        """Read the figures of a server at ``host:port``, with labels as a cluster gives them."""
        self._targets.append({"targets": [address], "labels": labels})
        self._write()

    def stop(self) -> None:
        """Stop it, at once: nothing of it is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(SECONDS)
            self._process = None

    def _start(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            self.program,
            f"--config.file={self.directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        log = self.directory / "prometheus.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        for attempt in tenacity.Retrying(
            wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(SECONDS), reraise=True
        ):
            with attempt:
                assert self._is_ready(), log.read_text()[-2000:]
                if self._process.poll() is not None:
                    break
        assert self._process.poll() is None, log.read_text()[-2000:]

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        return False

    def _write(self) -> None:
        new = self.directory / "targets.new"
        new.write_text(json.dumps(self._targets))
        new.rename(self.directory / "targets.json")
