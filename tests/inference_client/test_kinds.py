"""Models of other kinds on the page: labels, lists in and out, images; several in tabs."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from tests.parts.other_models import NAMES

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
KNOWN = {"hue": [1.0, 2, 8, 9], "margin": [-4.0, -3, 3, 4], "label": ["unripe"] * 2 + ["ripe"] * 2}


@pytest.fixture(scope="module")
def kinds(made_of: Any, new_service: Any) -> Any:
    """A service of a classifier, a detector on lists and a classifier of images."""
    service = new_service()
    for name in NAMES:
        service.release(made_of(name).bundle)
    service.start()
    return service


@pytest.fixture
def show(visit: Callable[..., Any], kinds: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page of a model; in the end nothing was amiss on it."""
    opened = []

    def open_page(name: str, **options: Any) -> Any:
        visited = visit(kinds.url + (f"#/{name}" if name else ""), **options)
        visited.page.wait_for_selector(READY)
        opened.append(visited)
        return visited

    yield open_page
    for visited in opened:
        # a browser notes each answer of 4xx by itself
        assert [of for of in visited.problems if "status of 4" not in of] == []
        assert visited.page.evaluate("window.violations") == []


def test_labels_and_booleans_are_asked_and_answered(show: Any, kinds: Any) -> None:
    visited = show("ripeness")
    page = visited.page
    assert visited.text("#title") == "Ripeness of a fruit"
    for chosen in ("false", ""):
        page.fill("#field-hue", "9")
        page.locator(f"[name=firm][value='{chosen}']").check()
        page.select_option("#field-variety", "pear")
        request = {"hue": 9, "variety": "pear"} | ({"firm": False} if chosen else {})
        assert visited.predict() == request
        answer = kinds.answer(request, "ripeness")
        assert visited.text("[data-output=label] .number") == answer["label"]
        certain = visited.text("[data-output=certain] .number")
        assert certain == ("Yes" if answer["certain"] else "No")
        margin = page.locator("[data-output=margin] data").get_attribute("value")
        assert float(margin) == answer["margin"]


def test_a_list_is_pasted_and_its_answer_is_marked_in_the_figure(show: Any, kinds: Any) -> None:
    visited = show("spikes")
    page = visited.page
    assert visited.text("#field-window-hint") == "The latest levels, 4 to 500 values, in mm."
    page.evaluate(PASTE, ["#field-window", "5,5\n5,0\n\n40,25\n6,5\n4,0\n"])
    assert visited.text(".count") == "5 values entered"
    request = visited.predict()
    assert request == {"window": [5.5, 5, 40.25, 6.5, 4]}
    assert kinds.answer(request, "spikes")["spikes"] == [False, False, True, False, False]
    assert visited.text("[data-output=spikes] .values") == "1 of 5 are true: number 3"
    assert visited.text("[data-output=count] .number") == "1 spikes"
    assert visited.text("#place") == "1 of 5 values are marked by “Spikes”: Position 3: 40.25 mm."
    assert page.locator("svg.series .marked").count() == 1
    page.focus("#reader")
    for key in ("End", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert visited.text("#reading") == "Position 3: 40.25 mm, marked"
    assert not page.is_visible("#batch")


def test_moving_the_bound_of_an_example_tells_what_is_found_and_what_is_false(show: Any) -> None:
    visited = show("spikes")
    page = visited.page
    assert not page.is_visible("#level-box")
    visited.predict()
    assert visited.text("#place").endswith(
        "1 of 1 labelled events are found, after 0 values on average; false alarms: 0."
    )
    page.focus("#level")
    page.keyboard.press("End")  # three times the bound
    marked = page.locator("svg.series .marked").count()
    page.keyboard.press("Home")  # a third of it
    assert page.locator("svg.series .marked").count() >= marked
    assert page.get_attribute("#level", "aria-valuetext") == "0.33 times the bound"


def test_an_image_is_chosen_or_dropped_shown_and_sent(show: Any) -> None:
    visited = show("shapes")
    page = visited.page
    assert page.locator(".drop img").is_visible()  # the example
    bar, box = (_drawn(label) for label in ("bar", "box"))
    page.set_input_files("#field-picture", _file(bar))
    page.locator(".drop img[alt$='chosen.png']").wait_for()
    visited.predict()
    assert visited.text("[data-output=label] .number") == "bar"
    page.evaluate(DROP, [list(box), "image/png"])
    page.locator(".drop img[alt$='dropped.png']").wait_for()
    visited.predict()
    assert visited.text("[data-output=label] .number") == "box"
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
    ("name", "field", "value", "told"),
    [
        ("ripeness", "hue", "12", "Out of range: enter 0 to 10 steps."),
        ("spikes", "window", "1 2", "Has too few elements: enter "),
        ("spikes", "window", "1 2 x 4 5 y", "Value 3 is not a number: enter a number mm. Value 6"),
        ("shapes", "picture", b"\x89PNG", "Not a PNG or JPEG image of at most"),
    ],
)
def test_a_refusal_appears_at_its_field(
    show: Any, name: str, field: str, value: Any, told: str
) -> None:
    visited = show(name)
    control = f"#field-{field}"
    if isinstance(value, bytes):
        visited.page.set_input_files(control, _file(value))
        visited.page.locator(".drop img[alt$='chosen.png']").wait_for()
    else:
        visited.page.fill(control, value)
    visited.page.click("#ask")
    visited.page.wait_for_selector(f"{control}-error:visible")
    assert told in visited.text(f"{control}-error")
    assert not visited.page.is_visible("#form-error")


def test_models_are_tabs_and_addresses_that_keep_what_was_entered(show: Any) -> None:
    # given the first of several models
    visited = show("")
    page = visited.page
    tabs = page.locator("#models a")
    assert tabs.all_inner_texts() == ["Ripeness", "Shapes", "Spikes"]
    assert page.locator("#models [aria-current=page]").inner_text() == "Ripeness"
    page.fill("#field-hue", "7.5")
    # when another is chosen by the keyboard
    tabs.nth(2).focus()
    page.keyboard.press("Enter")
    page.locator("#title", has_text="Spikes in a series").wait_for()
    assert page.locator("[data-field]").count() == 1
    # then what was entered is there again on the way back
    page.go_back()
    page.wait_for_selector("#field-hue")
    assert page.input_value("#field-hue") == "7.5"
    # and a model that is not listed is looked for by its address
    page.goto(f"{page.url.split('#', maxsplit=1)[0]}#/nothing")
    page.wait_for_selector("#model[data-state=trouble]")
    assert tabs.last.inner_text() == "Nothing"


def test_one_model_has_no_tabs(opened: Any) -> None:
    assert not opened.page.is_visible("#models")


def test_known_examples_are_coloured_by_a_label(visit: Any, kinds: Any) -> None:
    figure = {"kind": "scatter", "x": "hue", "y": "margin", "color": "label", "points": KNOWN}

    def before(route: Any) -> None:
        card = route.fetch().json()
        route.fulfill(json=card | {"page": {"examples": [{"hue": 6}], "figure": figure}})

    visited = visit(f"{kinds.url}#/ripeness", lambda page: page.route("**/card", before))
    visited.page.wait_for_selector("svg.scatter")
    assert visited.text("#legend").split() == ["ripe", "unripe"]
    assert visited.page.locator("g.points").count() == 2
    visited.predict()
    assert visited.page.locator("#asked").count() == 1


def test_a_file_is_answered_in_labels(show: Any, kinds: Any) -> None:
    visited = show("ripeness")
    body = b"Hue (steps),FIRM,variety\n9,no,PEAR\n2,1,plum\n"
    file = {"name": "a.csv", "mimeType": "text/csv", "buffer": body}
    visited.page.set_input_files("#batch-file", file)
    visited.page.locator("#batch-status", has_text="2 of 2 rows answered.").wait_for()
    assert visited.asked == [
        {"hue": 9, "firm": False, "variety": "pear"},
        {"hue": 2, "firm": True, "variety": "plum"},
    ]
    rows = visited.page.locator("#batch-body tr").all_inner_texts()
    labels = [kinds.answer(request, "ripeness")["label"] for request in visited.asked]
    assert [row.split("\t")[:2] for row in rows] == [["2", labels[0]], ["3", labels[1]]]


def _drawn(label: str) -> bytes:
    picture = Image.new("L", (16, 16), 20)
    if label == "bar":
        picture.paste(220, (7, 0, 8, 16))
    else:
        picture.paste(220, (3, 3, 13, 13))
        picture.paste(20, (4, 4, 12, 12))
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def _file(body: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"name": "chosen.png", "mimeType": kind, "buffer": body}
