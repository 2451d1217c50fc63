"""How it looks: schemes, contrast, a phone, motion, and that nothing comes from elsewhere."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

CONTRASTS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const over = (ground, colour, opacity = 1) => {
        canvas.globalAlpha = 1;
        canvas.fillStyle = ground;
        canvas.fillRect(0, 0, 1, 1);
        canvas.globalAlpha = opacity;
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((of) => of / 255)
            .map((of) => of <= 0.04045 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const ground = (of) => {
        for (let box = of; box; box = box.parentElement) {
            const colour = getComputedStyle(box).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
        return "white";
    };
    const found = {text: [], points: []};
    for (const of of document.querySelectorAll("body *")) {
        const words = [...of.childNodes].filter((node) => node.nodeType === 3)
            .map((node) => node.data.trim()).join("");
        if (!words || !of.checkVisibility() || of.matches("title, option, noscript")) continue;
        const style = getComputedStyle(of);
        const colour = of.closest("svg") ? style.fill : style.color;
        const behind = ground(of);
        found.text.push([contrast(over(behind, behind), over(behind, colour)), words.slice(0, 40)]);
    }
    for (const of of document.querySelectorAll("g.points")) {
        const style = getComputedStyle(of);
        const behind = ground(of);
        const drawn = over(behind, style.fill, Number(style.fillOpacity));
        found.points.push(contrast(over(behind, behind), drawn));
    }
    found.page = light(over(ground(document.body), ground(document.body)));
    return found;
}"""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

SMALL_TARGETS = """() => [...document.querySelectorAll(
        "input[type=text], input[type=range], select, button:not(.link), summary, .switch label")]
    .filter((of) => of.checkVisibility())
    .map((of) => [of.id || of.textContent.trim(), of.getBoundingClientRect()])
    .filter(([, {width, height}]) => width < 44 || height < 44)
    .map(([name, {width, height}]) => `${name}: ${width} x ${height}`)"""


def shown(visit: Callable[..., Any], service: Any, **options: Any) -> Any:
    visited = visit(service.url, **options)
    visited.page.wait_for_selector("svg.scatter")
    return visited


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_its_ground(visit: Any, service: Any, scheme: str) -> None:
    visited = shown(visit, service, color_scheme=scheme, reduced_motion="reduce")
    visited.predict()
    for summary in visited.page.locator("summary").all():
        summary.click()
    visited.page.fill("#field-year", "1999")
    visited.page.click("#ask")
    visited.page.wait_for_selector("#field-year-error:visible")

    found = visited.page.evaluate(CONTRASTS)

    assert (found["page"] < 0.05) == (scheme == "dark")
    assert len(found["text"]) > 60
    assert any(
        words.startswith("This answer is for the earlier request") for _, words in found["text"]
    )
    assert [word for word in found["text"] if word[0] < 4.5] == []
    assert len(found["points"]) == 13
    assert min(found["points"]) >= 3


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_is_enough(visit: Any, service: Any, width: int) -> None:
    options = PHONE | {"viewport": {"width": width, "height": 844}}
    visited = shown(visit, service, reduced_motion="reduce", **options)
    for summary in visited.page.locator("summary").all():
        summary.tap()
    visited.predict()
    # the answer comes into view, nothing needs a sideways scroll, and a finger hits every control
    box = visited.page.locator("#outputs data >> nth=0").bounding_box()
    assert 0 <= box["y"] <= 844 - box["height"]
    assert visited.page.evaluate(OVERFLOW) == 0
    assert visited.page.evaluate(SMALL_TARGETS) == []


@pytest.mark.parametrize(("motion", "turns"), [("reduce", "none"), ("no-preference", "turn")])
def test_motion_is_reduced_on_demand(visit: Any, service: Any, motion: str, turns: str) -> None:
    visited = shown(visit, service, reduced_motion=motion)
    spinner = "getComputedStyle(document.querySelector('.spinner')).animationName"
    assert visited.page.evaluate(spinner) == turns


def test_nothing_leaves_the_origin_and_nothing_breaks_the_policy(visit: Any, service: Any) -> None:
    visited = shown(visit, service)
    visited.predict()
    for choice in ("lb", "kg"):
        visited.page.locator(f".switch [value={choice}]").check()
    for summary in visited.page.locator("summary").all():
        summary.click()
    visited.predict()

    assert all(url.startswith(service.url) for url in visited.urls)
    files = {file.name for file in service.client.iterdir()}
    paths = {urlsplit(url).path for url in visited.urls}
    assert {path for path in paths if not path.startswith(("/v1/", "/v2/"))} <= {
        "/",
        *(f"/{name}" for name in files),
    }
    assert visited.problems == []
    assert visited.page.evaluate("window.violations") == []


def test_no_file_of_the_page_names_another_host_or_has_inline_code(root: Path) -> None:
    for file in (root / "inference-client").iterdir():
        text = file.read_text()
        hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.[a-z]{2,})", text))
        assert hosts <= {"www.w3.org"}, file.name  # the namespace of SVG, which nobody fetches
    page = (root / "inference-client" / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", page))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("page-light.png", {"color_scheme": "light"}),
        ("page-dark.png", {"color_scheme": "dark"}),
        ("page-phone.png", PHONE | {"color_scheme": "light", "device_scale_factor": 2}),
    ],
)
def test_pictures_of_the_page(
    visit: Any, service: Any, pictures: Any, name: str, options: dict[str, Any]
) -> None:
    visited = shown(visit, service, reduced_motion="reduce", **options)
    visited.predict()
    if "viewport" not in options:
        body = (
            b"name,weight_kg,year,origin\na small car,900,1981,japan\na family car,1300,1978,usa\n"
        )
        body += b"a car of today,1400,2024,europe\na heavy car,1900,1972,usa\n"
        file = {"name": "cars.csv", "mimeType": "text/csv", "buffer": body}
        visited.page.set_input_files("#batch-file", file)
        visited.page.locator("#batch-status", has_text="3 of 4 rows answered, 1 cannot").wait_for()
    pictures(visited, name)
