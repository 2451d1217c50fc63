"""Two real bundles, the routes to models without a network, and servers in processes."""

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.responses import PlainTextResponse

from roadworthy.bundles import bundle
from roadworthy.models import fuel, tensors
from roadworthy.routing import routes
from roadworthy.serving.http.model_routes import ModelRoutes
from roadworthy.serving.models.circuit_breaker import CircuitBreaker
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore, ModelVersions, load
from roadworthy.serving.models.traffic import Traffic
from roadworthy.serving.settings import ServerSettings
from tests import ports

SINCE = "2026-01-02T03:04:05+00:00"
CAR = {"weight_kg": 1200, "year": 1980}
TOKEN = "T0ken-of.the~server+/=="
ORIGIN = "https://cars.example.org"


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
class Routes:
    """The routes to models, without a network."""

    store: ModelStore
    app: ModelRoutes

    def __call__(
        self,
        path: str = "/v1/models/fuel:predict",
        body: bytes | dict | list[bytes] = b"",
        method: str = "POST",
        **headers: str,
    ) -> httpx.Response:
        """Return the response to a request, whose body is sent in chunks if it is a list."""
        return asyncio.run(self._send(path, body, method, headers))

    async def _send(self, path: str, body: Any, method: str, headers: dict) -> httpx.Response:
        async def chunks() -> AsyncIterator[bytes]:
            for chunk in body:
                yield chunk

        content = orjson.dumps(body) if isinstance(body, dict) else body
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.request(
                method,
                f"http://server{path}",
                content=chunks() if isinstance(body, list) else content,
                headers={k.replace("_", "-").encode(): v.encode() for k, v in headers.items()},
            )


@pytest.fixture
def ask(loaded) -> Routes:
    """The routes to champion 1 and challenger 2, with small limits."""
    store = ModelStore()
    breaker = CircuitBreaker(loaded[1].scorer)
    store.put(ModelVersions("fuel", *loaded, breaker=breaker))
    metrics = Metrics(store)

    async def others(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(f"other: {scope['path']}")(scope, receive, send)

    app = ModelRoutes(
        others,
        store=store,
        limits=ServerSettings(routing=Path(), max_body_bytes=20_000, max_rows=50),
        traffic=Traffic(metrics),
        metrics=metrics,
        page=True,
    )
    return Routes(store, app)


@dataclass
class Running:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen
    log: Path

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.client.get(f"{self.url}{path}", **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.client.post(f"{self.url}{path}", **kwargs)

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

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
        running.client.close()
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="session")
def client_directory(tmp_path_factory) -> Path:
    """A page, a file in the place of the API, and files that are not for everyone."""
    directory = tmp_path_factory.mktemp("client")
    (directory.parent / "secret").write_text("not for you")
    (directory / "outside").symlink_to(directory.parent / "secret")
    (directory / ".git").mkdir()
    for name in (".hidden", ".git/config"):
        (directory / name).write_text("not for you")
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
def guarded(bundles, start, client_directory, tmp_path_factory) -> Running:
    """A server of two processes with a token, allowed origins and gRPC."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    port, metrics = ports.free_ports(2)
    server = start(
        *("--bundle", bundles[0].path, "--version", 1, "--client", client_directory),
        *("--token-file", file, "--cors-origin", ORIGIN, "--cors-origin", "http://localhost:3000"),
        *("--workers", 2, "--grpc-port", port, "--metrics-port", metrics),
    )
    server.grpc, server.metrics_port = f"127.0.0.1:{port}", metrics
    return server


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
