"""A real server with a real bundle."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from roadworthy.bundles.bundle import Bundle
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing
from tests.parts.page import Visit

VERSION = 3


@dataclass
class Service:
    """The model server as a process of its own, with the page."""

    routings: Path
    client: Path
    log: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start on the port of the last time, or on a free one; return once it listens."""
        command = [sys.executable, "-m", "roadworthy.serving", "--routing", str(self.routings)]
        command += ["--client", str(self.client), "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", greeting)
        assert found, f"The server did not start: {self.log.read_text()}"
        self.port = int(found[1])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=30)
            self.process = None

    def release(self, made: Bundle, version: int = VERSION, age: timedelta = timedelta()) -> None:
        """Put a bundle into production, as if that had been so for some time."""
        since = (datetime.now(UTC) - age).isoformat()
        released = Release(version, str(made.path), made.digest, since)
        routes.write(self.routings, Routing(made.manifest.model, champion=released))

    def answer(self, asked: dict[str, Any], model: str = "fuel") -> dict[str, Any]:
        """Return what the service itself answers, without the page."""
        response = httpx.post(f"{self.url}v1/models/{model}:predict", json={"instances": [asked]})
        answer: dict[str, Any] = response.raise_for_status().json()["predictions"][0]
        return answer


@pytest.fixture(scope="session")
def new_service(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Service]]:
    """Makes services that are stopped in the end, however the tests went."""
    made: list[Service] = []

    def new() -> Service:
        home = tmp_path_factory.mktemp("service")
        (home / "routing").mkdir()
        made.append(Service(home / "routing", root / "inference-client", home / "log"))
        return made[-1]

    yield new
    for service in made:
        service.stop()


@pytest.fixture(scope="session")
def service(new_service: Callable[[], Service], packed: Bundle) -> Service:
    """A service that answers; tests leave it as it is."""
    made = new_service()
    made.release(packed, age=timedelta(hours=2, minutes=5))
    made.start()
    return made


@pytest.fixture
def opened(visit: Callable[..., Visit], service: Service) -> Visit:
    """The page on a wide screen, with the card there."""
    visited = visit(service.url)
    visited.page.wait_for_selector("#model[data-state=ready]")
    return visited
