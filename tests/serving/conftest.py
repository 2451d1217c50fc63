"""Two real bundles, an answering front without a network, and servers in processes of their own."""

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from roadworthy.bundles import bundle
from roadworthy.models import fuel, tensors
from roadworthy.routing import routes
from roadworthy.serving.http.model_routes import Limits, ModelRoutes
from roadworthy.serving.models.circuit_breaker import CircuitBreaker
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore, ModelVersions, load
from roadworthy.serving.models.traffic import Traffic
from tests import ports

SINCE = "2026-01-02T03:04:05+00:00"
CAR = {"weight_kg": 1200, "year": 1980}


@pytest.fixture(scope="session")
def bundles(halves, cars, tmp_path_factory) -> list[bundle.Bundle]:
    """Bundles of the first two candidates, which answer differently."""
    directory = tmp_path_factory.mktemp("bundles")
    requests = [_request(car, n) for n, car in enumerate(halves.test.iloc[::8].to_dict("records"))]
    return [
        _bundle(directory / candidate.name, candidate, halves.train, cars, requests)
        for candidate in fuel.candidates[:2]
    ]


@pytest.fixture(scope="session")
def release() -> Callable[..., routes.Release]:
    """Make a release of a bundle."""

    def make(version: int, of: bundle.Bundle) -> routes.Release:
        return routes.Release(version, str(of.path), of.digest, SINCE)

    return make


@pytest.fixture(scope="session")
def loaded(bundles, release) -> list[LoadedVersion]:
    """Versions 1 and 2, loaded."""
    return [load("fuel", release(n + 1, one)) for n, one in enumerate(bundles)]


@dataclass
class Answer:
    """What a front said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Asking:
    """A front that is asked without a network."""

    store: ModelStore
    routes_app: ModelRoutes
    passed_on: list[str] = field(default_factory=list)

    def __call__(
        self,
        path: str = "/v1/models/fuel:predict",
        body: bytes | dict | None = b"",
        method: str = "POST",
        chunks: list[bytes] | None = None,
        **headers: str,
    ) -> Answer:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }
        return asyncio.run(self._answer(scope, chunks or [content]))

    async def _answer(self, scope: dict, chunks: list[bytes]) -> Answer:
        sent: list[dict] = []
        left = list(chunks)

        async def receive() -> dict:
            chunk = left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(left)}

        async def send(message: dict) -> None:
            sent.append(message)

        await self.routes_app(scope, receive, send)
        headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, sent[1]["body"])


@pytest.fixture
def ask(loaded) -> Asking:
    """A front over champion 1 and challenger 2, with small limits."""
    store = ModelStore()
    champion, challenger = loaded
    store.put(
        ModelVersions("fuel", champion, challenger, breaker=CircuitBreaker(challenger.scorer))
    )

    async def others(scope: Any, receive: Any, send: Any) -> None:
        asking.passed_on.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limits = Limits(max_body_bytes=20_000, max_rows=50)
    metrics = Metrics(store)
    routes_app = ModelRoutes(
        others, store=store, limits=limits, traffic=Traffic(metrics), metrics=metrics, page=True
    )
    asking = Asking(store, routes_app)
    return asking


@dataclass
class Running:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen
    log: Path

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", **kwargs)

    def stop(self, sign: int = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        return self.process.wait(timeout=20)

    def wait_for(self, text: str) -> None:
        """Wait until the log holds a text."""
        until(lambda: text in self.log.read_text(), f"{text!r} in the log")


@pytest.fixture(scope="session")
def command() -> list[str]:
    """How a server is started."""
    return [sys.executable, "-m", "roadworthy.serving"]


@pytest.fixture(scope="session")
def start(command, tmp_path_factory) -> Iterator[Callable[..., Running]]:
    """Start a server on a free port; it is stopped when the tests end."""
    started: list[Running] = []

    def begin(*arguments: object) -> Running:
        log = tmp_path_factory.mktemp("server") / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "--port", "0", "--poll-seconds", "0.05", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"NO_PROXY": "127.0.0.1"},
            )
        url = _announced(process, log)
        started.append(Running(url, process, log))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="session")
def client_directory(tmp_path_factory) -> Path:
    """A page, and a file where the API is."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "index.html").write_text("<!doctype html><title>A page</title>")
    (directory / "page.js").write_text("export {}")
    (directory / "v2").mkdir()
    (directory / "v2" / "models").write_text("a file in the way")
    return directory


@pytest.fixture(scope="session")
def server(bundles, release, start, client_directory, tmp_path_factory) -> Running:
    """A server with champion 1, challenger 2 and a page."""
    routings = tmp_path_factory.mktemp("routing")
    champion, challenger = (release(n + 1, one) for n, one in enumerate(bundles))
    routes.write(routings, routes.Routing("fuel", champion, challenger))
    return start("--routing", routings, "--client", client_directory, "--max-body-bytes", 100_000)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Find a port of this machine that nobody listens at."""
    return ports.free_port


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something is so."""
    return until


def until(so: Callable[[], object], what: str | Callable[[], str], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            said = what if isinstance(what, str) else what()
            pytest.fail(f"waited {seconds} s in vain for {said}")
        time.sleep(0.02)


def _announced(process: subprocess.Popen, log: Path) -> str:
    ready, _, _ = select.select([process.stdout], [], [], 60)
    line = process.stdout.readline() if ready else ""
    found = re.search(r"http://\S+?(?=/\s*$)", line)
    if found is None:
        process.kill()
        pytest.fail(f"the server did not start: {line}{log.read_text()}")
    return found[0]


def _request(car: dict, n: int) -> dict:
    whole = ("year", "cylinders")
    said = {k: car[k] for k in ("weight_kg", "year", *_OPTIONAL) if car[k] == car[k]}
    request = {k: int(v) if k in whole else v for k, v in said.items()}
    return request if n % 3 else {k: request[k] for k in ("weight_kg", "year")}


_OPTIONAL = ("cylinders", "displacement", "horsepower", "acceleration", "origin")


def _bundle(path: Path, candidate, train, cars, requests: list[dict]) -> bundle.Bundle:
    estimator = fuel.train(candidate, train)
    graph = fuel.export(estimator).SerializeToString()
    columns = tensors.columns(tensors.parse(fuel.Request.model_json_schema()), requests)
    import pandas as pd

    answers = estimator.predict(pd.DataFrame(columns)).to_dict("records")
    manifest = bundle.Manifest(
        model="fuel",
        commit="0" * 40,
        data_hash="0" * 32,
        candidate=candidate.name,
        parameters=dict(candidate.parameters),
        metrics={"r2": 0.5},
        request=fuel.Request.model_json_schema(),
        answer=fuel.Answer.model_json_schema(),
        packages={},
    )
    files = {
        bundle.MODEL: graph,
        bundle.GOLDEN: bundle.encode({"requests": requests, "answers": answers}),
        bundle.PROFILE: bundle.encode(
            {"page": fuel.page(cars).document(fuel.Request, fuel.Answer)}
        ),
        bundle.CARD: b"# fuel\n",
    }
    return bundle.write(path, manifest, files)
