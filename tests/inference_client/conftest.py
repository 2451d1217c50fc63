"""A real server with a real bundle, and a browser to look at its page."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle, Manifest
from roadworthy.bundles.scoring import Scorer
from roadworthy.models import fuel
from roadworthy.models.contract import Split
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing

VERSION = 3
CAR = {"weight_kg": 1200, "year": 1980}
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
    (event) => window.violations.push(event.violatedDirective));
"""


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
        """Put a bundle deployed, as if that had been so for some time."""
        since = (datetime.now(UTC) - age).isoformat()
        released = Release(version, str(made.path), made.digest, since)
        routes.write(self.routings, Routing("fuel", champion=released))

    def answer(self, car: dict[str, Any]) -> dict[str, float]:
        """Return what the service itself answers, without the page."""
        response = httpx.post(f"{self.url}v1/models/fuel:predict", json={"instances": [car]})
        answer: dict[str, float] = response.raise_for_status().json()["predictions"][0]
        return answer


@dataclass
class Visit:
    """A page that is open, and what happened on it so far."""

    page: Any
    asked: list[dict[str, Any]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """Return the visible words, with single ordinary spaces."""
        return " ".join(self.page.inner_text(selector).split())

    def predict(self) -> dict[str, Any]:
        """Press the button and return the request that was sent, once the answer is shown."""
        with self.page.expect_response("**/v1/models/*:predict") as response:
            self.page.click("#ask")
        assert response.value.ok, response.value.text()
        self.page.wait_for_selector("#told:visible")
        self.page.wait_for_selector("#ask[aria-disabled=false]")
        return self.asked[-1]


@pytest.fixture(scope="session")
def small_bundle(
    cars: pd.DataFrame, halves: Split, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A bundle of the plainest candidate, which is fitted in a moment."""
    candidate = fuel.candidates[0]
    estimator = fuel.train(candidate, halves.train)
    graph = fuel.export(estimator).SerializeToString()
    scorer = Scorer(graph)
    golden = scorer.score(scorer.columns([CAR]))
    files = {
        "model.onnx": graph,
        "golden.json": bundle.encode(
            {"requests": [CAR], "answers": [{name: float(of[0]) for name, of in golden.items()}]}
        ),
        "profile.json": bundle.encode(
            {"page": fuel.page(cars).document(fuel.Request, fuel.Answer)}
        ),
    }
    manifest = Manifest(
        model="fuel",
        commit="0123456789abcdef" * 2 + "01234567",
        data_hash="",
        candidate=candidate.name,
        parameters=dict(candidate.parameters),
        metrics=fuel.score(estimator.predict(halves.test), halves.test).metrics,
        request=fuel.Request.model_json_schema(),
        answer=fuel.Answer.model_json_schema(),
        packages={},
    )
    return bundle.write(tmp_path_factory.mktemp("bundle") / "fuel", manifest, files)


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
def service(new_service: Callable[[], Service], small_bundle: Bundle) -> Service:
    """A service that answers; tests leave it as it is."""
    made = new_service()
    made.release(small_bundle, age=timedelta(hours=2, minutes=5))
    made.start()
    return made


# Of a module, not of the session: as long as it lives, no other test can use asyncio.run.
@pytest.fixture(scope="module")
def browser(requires: Any) -> Iterator[Any]:
    path = requires.program("chromium", "apt-get install chromium fonts-dejavu-core")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Opens the page of a service, in a window of its own."""
    contexts = []

    def open_page(
        service: Service,
        fragment: str = "",
        before: Callable[[Any], None] = lambda _: None,
        **options: Any,
    ) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        visited = Visit(context.new_page())
        page = visited.page
        page.add_init_script(VIOLATIONS)
        page.on("request", lambda request: _note(visited, request))
        page.on("pageerror", lambda error: visited.problems.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning") and visited.problems.append(message.text)
            ),
        )
        before(page)
        page.goto(service.url + fragment)
        return visited

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def opened(visit: Callable[..., Visit], service: Service) -> Visit:
    """The page on a wide screen, with the card there."""
    visited = visit(service)
    visited.page.wait_for_selector("#model[data-state=ready]")
    return visited


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[Visit, str], None]:
    """Takes a picture of a page, which needs no sideways scroll, for somebody to look at."""
    folder = Path(os.environ.get("ROADWORTHY_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def take(visited: Visit, name: str) -> None:
        root = "document.documentElement"
        assert visited.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
        visited.page.mouse.move(0, 0)
        visited.page.evaluate("scrollTo(0, 0)")
        visited.page.screenshot(path=folder / name, full_page=True)

    return take


def _note(visited: Visit, request: Any) -> None:
    visited.urls.append(request.url)
    if request.method == "POST":
        visited.asked += json.loads(request.post_data)["instances"]
