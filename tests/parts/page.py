"""A browser to look at the page of a service."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
    """Open an address in a window of its own."""
    contexts = []

    def open_page(
        url: str,
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
        page.goto(url)
        return visited

    yield open_page
    for context in contexts:
        context.close()


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
