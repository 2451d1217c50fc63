"""Models of other kinds on the page: their forms, their answers, their figures, in tabs."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.inference_client import kinds
from tests.inference_client.kinds import Kind

READY = "#model[data-state=ready]"
PASTE = """([selector, text]) => {
    document.querySelector(selector).focus();
    document.execCommand("selectAll");
    document.execCommand("insertText", false, text);
}"""
DROP = """([bytes, type]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type}));
    document.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}"""
ELEMENT = {"index": 2, "bound": "0 to 9", "unit": "V"}
CSV = {"name": "a.csv", "mimeType": "text/csv"}


@pytest.fixture
def models() -> dict[str, Kind]:
    return kinds.kinds()


@pytest.fixture
def show(visit: Any, service: Any, models: dict[str, Kind]) -> Iterator[Any]:
    """Opens the page of a model; in the end nothing was amiss on it."""
    opened = []

    def open_page(name: str, **options: Any) -> Any:
        fragment = f"#/{name}" if name else ""
        visited = visit(service, fragment, lambda page: kinds.install(page, models), **options)
        visited.page.wait_for_selector(READY)
        opened.append(visited)
        return visited

    yield open_page
    for visited in opened:
        assert [of for of in visited.problems if "status of 4" not in of] == []
        assert visited.page.evaluate("window.violations") == []


def test_a_label_and_a_boolean_are_answered(show: Any) -> None:
    visited = show("flowers")
    page = visited.page
    assert visited.text("#title") == "Which flower?"
    page.locator(".switch [value=mm]").check()
    page.fill("#field-petal_cm", "3")
    page.locator("[name=wild][value=false]").check()
    page.click("#more summary")
    page.fill("#field-note", "by the lake")
    asked = {"petal_cm": pytest.approx(0.3), "wild": False, "note": "by the lake"}
    assert visited.predict() == asked
    shown = {of: visited.text(f"[data-output={of}]") for of in ("species", "likelihood", "sure")}
    assert shown == {
        "species": "Species iris",
        "likelihood": "Likelihood 0.94 Likelihood of the species.",
        "sure": "Sure Yes Whether the likelihood is above 0.9.",
    }
    assert page.locator("#asked").count() == 1
    assert visited.text("#legend").split() == ["iris", "rose"]


def test_a_list_is_pasted_and_its_answer_is_marked_in_the_figure(show: Any) -> None:
    visited = show("windows")
    page = visited.page
    assert visited.text("#field-values-hint") == "The newest measurements, 3 to 500 values, in V."
    page.evaluate(PASTE, ["#field-values", "1,5\n2,0\n\n90,5\n1,5\n"])
    assert visited.text(".count") == "4 values entered"
    assert visited.predict() == {"values": [1.5, 2, 90.5, 1.5]}
    assert visited.text("[data-output=outliers] .values") == "1 of 4 are true: number 3"
    assert visited.text("[data-output=scores] .values") == "0.5, 0, 88.5, 0.5"
    assert visited.text("#place") == "1 of 4 values are marked by “Outliers”: Position 3: 90.5 V."
    assert page.locator("svg.series .marked").count() == 1
    page.focus("#reader")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert visited.text("#reading") == "Position 3: 90.5 V, marked"
    assert not page.is_visible("#batch")


def test_an_image_is_chosen_or_dropped_shown_and_sent(show: Any) -> None:
    visited = show("digits")
    page = visited.page
    assert page.locator(".drop img").is_visible()  # the example
    for shade, put in (
        (5, lambda body: page.set_input_files("#field-picture", _file(body))),
        (6, lambda body: page.evaluate(DROP, [list(body), "image/png"])),
    ):
        put(kinds.png(shade))
        name = "chosen.png" if shade == 5 else "dropped.png"
        page.locator(f".drop img[alt$='{name}']").wait_for()
        visited.predict()
        assert visited.text("[data-output=digit] .number") == str(shade)
    # what the card does not allow is refused at the field
    for file, told in (
        (_file(b"GIF89a", "image/gif"), "chosen.png is not an image of the type png or jpeg."),
        (_file(bytes(30_000)), "chosen.png has 30 kB: choose one of at most 20 kB."),
    ):
        page.set_input_files("#field-picture", file)
        page.locator("#field-picture-error", has_text=told).wait_for()
    page.click(".drop button")
    assert not page.locator(".drop img").is_visible()


@pytest.mark.parametrize(
    ("name", "field", "problem", "more", "told"),
    [
        ("windows", "values", "is too short", {"bound": "3 to 500"}, "Too short: enter 3 to 500."),
        ("windows", "values", "is null", ELEMENT, "Value 3 is null: enter 0 to 9 V."),
        ("digits", "picture", "has 9 pixels, more than 4", {}, "Has 9 pixels, more than 4."),
        ("flowers", "wild", "is not a boolean", {}, "Not a boolean."),
    ],
)
def test_a_refusal_appears_at_its_field(
    show: Any, models: dict[str, Kind], name: str, field: str, problem: str, more: Any, told: str
) -> None:
    visited = show(name)
    models[name].refusal = {"field": field, "problem": problem} | more
    visited.page.click("#ask")
    error = f"#field-{field}-error"
    visited.page.wait_for_selector(f"{error}:visible")
    assert visited.text(error).endswith(told)
    assert not visited.page.is_visible("#form-error")


def test_models_are_tabs_and_addresses_that_keep_what_was_entered(show: Any) -> None:
    # given the first of several models
    visited = show("")
    page = visited.page
    tabs = page.locator("#models a")
    assert tabs.all_inner_texts() == ["Digits", "Flowers", "Windows"]
    assert page.locator("#models [aria-current=page]").inner_text() == "Digits"
    # when another is chosen by the keyboard and its form is filled in
    tabs.nth(1).focus()
    page.keyboard.press("Enter")
    page.locator("#title", has_text="Which flower?").wait_for()
    page.fill("#field-petal_cm", "7.5")
    # then that is there again after a look at the third
    tabs.nth(2).click()
    page.wait_for_selector("#field-values")
    assert page.locator("[data-field]").count() == 1
    page.go_back()
    page.wait_for_selector("#field-petal_cm")
    assert page.input_value("#field-petal_cm") == "7.5"
    # and a model that is not listed is looked for by its address
    page.goto(f"{page.url.split('#')[0]}#/nothing")
    page.wait_for_selector("#model[data-state=trouble]")
    assert tabs.last.inner_text() == "Nothing"


def test_one_model_has_no_tabs(opened: Any) -> None:
    assert not opened.page.is_visible("#models")


def test_a_file_is_answered_in_labels(show: Any) -> None:
    visited = show("flowers")
    page = visited.page
    body = b"Petal (mm),wild,soil\n20,yes,SAND\n80,0,clay\n"
    page.set_input_files("#batch-file", {**CSV, "buffer": body})
    page.locator("#batch-status", has_text="2 of 2 rows answered.").wait_for()
    assert visited.asked == [
        {"petal_cm": 2, "wild": True, "soil": "sand"},
        {"petal_cm": 8, "wild": False, "soil": "clay"},
    ]
    rows = page.locator("#batch-body tr").all_inner_texts()
    assert [row.split("\t")[:4] for row in rows] == [
        ["2", "iris", "0.6", "no"],
        ["3", "rose", "0.6", "no"],
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("name", ["digits", "flowers", "windows"])
def test_every_kind_fits_the_screen(
    show: Any, pictures: Any, name: str, scheme: str, width: int
) -> None:
    viewport = {"width": width, "height": 900}
    visited = show(name, color_scheme=scheme, reduced_motion="reduce", viewport=viewport)
    visited.predict()
    pictures(visited, f"{name}-{scheme}-{width}.png")


def _file(body: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"name": "chosen.png", "mimeType": kind, "buffer": body}
