"""The form and the answer: what is typed is asked, what is answered is shown."""

import re
from typing import Any

import pytest

CAR = {"weight_kg": 1200, "year": 1980}
POUND = 0.45359237
FOCUS = "document.activeElement.id || document.activeElement.value"
OUTLINE = """() => {
    const of = document.activeElement;
    const drawn = of.type === "radio" ? of.closest("label") : of;
    return parseFloat(getComputedStyle(drawn).outlineWidth);
}"""


def unit(opened: Any, name: str) -> None:
    opened.page.locator(f".switch [value={name}]").check()


def test_one_click_shows_the_answer_of_the_service(opened: Any, service: Any) -> None:
    answer = service.answer(CAR)

    assert opened.predict() == CAR

    for name, said in (("l_per_100km", "l/100 km"), ("mpg", "mpg")):
        output = f"[data-output={name}]"
        value = opened.page.locator(f"{output} data")
        assert float(value.get_attribute("value")) == answer[name]
        assert opened.text(f"{output} .number").endswith(f" {said}")
        found = re.fullmatch(
            rf"90 % interval: ([\d.]+) to ([\d.]+) {said}", opened.text(f"{output} .interval")
        )
        for shown, end in zip(found.groups(), ("low", "high"), strict=True):
            assert float(shown) == pytest.approx(answer[f"{name}_{end}"], rel=0.05)
    assert opened.text("#whose") == "For: Weight: 1,200 kg; Model year: 1980."
    # and it is announced as a whole
    said = opened.page.locator("#said")
    assert (said.get_attribute("aria-live"), said.get_attribute("aria-atomic")) == (
        "polite",
        "true",
    )


def test_a_value_is_sent_as_it_was_typed_whatever_unit_is_shown(opened: Any, service: Any) -> None:
    # given a weight in kilograms
    page = opened.page
    page.fill("#field-weight_kg", "1234.5")
    # when another unit is shown, then the same is sent
    unit(opened, "lb")
    assert page.input_value("#field-weight_kg") == f"{1234.5 / POUND:.2f}"
    assert opened.predict()["weight_kg"] == 1234.5
    # and a weight in pounds is sent in kilograms
    page.fill("#field-weight_kg", "3,000")
    sent = opened.predict()
    assert sent == {"weight_kg": 3000 * POUND, "year": 1980}
    value = page.locator("[data-output=l_per_100km] data").get_attribute("value")
    assert float(value) == service.answer(sent)["l_per_100km"]
    assert opened.text("#whose") == "For: Weight: 3,000 lb; Model year: 1980."


def test_labels_hints_and_choices_come_from_the_card(opened: Any) -> None:
    opened.page.click("#more summary")
    tree = opened.page.locator("main").aria_snapshot()
    for name in ("Weight", "Model year", "Acceleration", "Displacement"):
        assert f'textbox "{name}"' in tree
    assert 'combobox "Origin"' in tree
    assert 'group "Unit of Weight"' in tree
    assert 'radio "kg" [checked]' in tree
    assert opened.text("#field-weight_kg-hint") == "Weight of the car, 700 to 2,400 kg."
    assert opened.text("#field-year-hint") == "1970 to 1982."
    assert opened.text("#field-acceleration-hint") == "Time from 0 to 60 mph, 7 to 26 s."
    choices = opened.page.locator("#field-origin option").all_inner_texts()
    assert choices == ["Not given", "usa", "europe", "japan"]


@pytest.mark.parametrize(("of", "limits"), [("kg", "700 to 2,400"), ("lb", "1,544 to 5,291")])
def test_limits_follow_the_unit(opened: Any, of: str, limits: str) -> None:
    unit(opened, of)
    assert opened.text("#field-weight_kg-hint") == f"Weight of the car, {limits} {of}."
    # what lies on a limit is accepted
    for limit in limits.split(" to "):
        opened.page.fill("#field-weight_kg", limit)
        opened.predict()
    # and what lies beyond is refused in that unit
    opened.page.fill("#field-weight_kg", "90000")
    opened.page.click("#ask")
    opened.page.wait_for_selector("#field-weight_kg-error:visible")
    told = opened.text("#field-weight_kg-error")
    assert told.endswith(f"Out of range: enter {limits} {of}.")


def test_refusals_appear_at_the_field_and_a_correction_is_answered(opened: Any) -> None:
    page = opened.page
    page.fill("#field-weight_kg", "")
    page.fill("#field-year", "1980.5")
    page.click("#more summary")
    page.fill("#field-displacement", "big")
    page.click("#more summary")  # folded away again

    page.click("#ask")
    page.wait_for_selector("#field-weight_kg-error:visible")

    for name, told in (
        ("weight_kg", "Missing: enter 700 to 2,400 kg."),
        ("year", "Not a whole number: enter 1970 to 1982."),
        ("displacement", "Not a number: enter 60 to 480 cu in."),
    ):
        assert opened.text(f"#field-{name}-error").endswith(told)
        described = page.locator(f"#field-{name}").get_attribute("aria-describedby")
        assert f"field-{name}-error" in described.split()
    assert page.locator("[aria-invalid=true]").count() == 3
    assert page.evaluate("document.activeElement.id") == "field-weight_kg"
    assert page.locator("#told").is_hidden()

    for name, value in (("weight_kg", "1200"), ("year", "1976"), ("displacement", "")):
        page.fill(f"#field-{name}", value)
        assert page.locator(f"#field-{name}-error").is_hidden()
    assert opened.predict() == {"weight_kg": 1200, "year": 1976}
    assert page.locator("[aria-invalid]").count() == 0


def test_an_answer_for_an_earlier_request_says_so_until_the_next_answer(opened: Any) -> None:
    # given an answer
    page = opened.page
    opened.predict()
    shown = opened.text("#outputs")
    colour = "getComputedStyle(document.querySelector('#outputs data')).color"
    fresh = page.evaluate(colour)
    assert opened.text("#earlier") == ""

    # when another request is refused
    page.fill("#field-year", "1999")
    page.click("#ask")
    page.wait_for_selector("#field-year-error:visible")

    # then the answer stays, dimmed and with a note of whose it is, in the unit chosen
    assert opened.text("#outputs") == shown
    note = "This answer is for the earlier request: Weight: {}; Model year: 1980."
    assert opened.text("#earlier") == note.format("1,200 kg")
    assert page.evaluate(colour) != fresh
    assert page.locator("#asked").text_content() == "earlier request"
    unit(opened, "lb")
    assert opened.text("#earlier") == note.format("2,646 lb")

    # and the next answer is at full strength again
    page.fill("#field-year", "1976")
    opened.predict()
    assert opened.text("#earlier") == ""
    assert page.evaluate(colour) == fresh
    assert page.locator("#asked").text_content() == "this request"


def test_the_keyboard_is_enough(opened: Any, service: Any) -> None:
    page = opened.page
    typed = [
        (["Tab"] * 4, "field-weight_kg", "1000"),
        (["Tab"], "kg", ""),
        (["ArrowRight"], "lb", ""),
        (["ArrowLeft", "Tab"], "field-year", ""),
        (["Tab", "Enter", "Tab"], "field-acceleration", "16"),
    ]
    for keys, reached, text in typed:
        for key in keys:
            page.keyboard.press(key)
        assert page.evaluate(FOCUS) == reached
        assert page.evaluate(OUTLINE) >= 2, "focus is not visible"
        if text:
            page.keyboard.press("Control+A")
            page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_selector("#asked")

    assert opened.asked == [{"weight_kg": 1000, "year": 1980, "acceleration": 16}]

    # and the figure is read value by value
    page.focus("#reader")
    page.keyboard.press("ArrowRight")
    assert opened.text("#reading").startswith("Weight: ")
    told = page.locator("#reader").get_attribute("aria-valuetext")
    assert told == opened.text("#reading")
    assert page.locator(".ring").count() == 1


@pytest.mark.parametrize("old", [False, True], ids=["reloaded", "address of before"])
def test_an_address_brings_the_request_back(visit: Any, service: Any, old: bool) -> None:
    fragment = "#weight_kg=3000&origin=europe&year=1979&weight-unit=lb" if old else ""
    visited = visit(service.url + fragment)
    page = visited.page
    page.wait_for_selector("#model[data-state=ready]")
    if not old:
        unit(visited, "lb")
        page.fill("#field-weight_kg", "3000")
        page.fill("#field-year", "1979")
        page.click("#more summary")
        page.select_option("#field-origin", "europe")
        visited.predict()
        page.reload()
        page.wait_for_selector("#model[data-state=ready]")
    assert page.input_value("#field-weight_kg") == "3000"
    assert visited.predict() == {"weight_kg": 3000 * POUND, "year": 1979, "origin": "europe"}
    assert "#/fuel?" in page.url


def test_an_example_fills_the_form(opened: Any) -> None:
    button = opened.page.get_by_role("button", name="Example 2: Weight: 900 kg; Model year: 1981")
    button.click()
    assert opened.predict() == {
        "weight_kg": 900,
        "year": 1981,
        "cylinders": 4,
        "displacement": 91,
        "horsepower": 68,
        "acceleration": 16,
        "origin": "japan",
    }


@pytest.mark.parametrize(
    ("required", "columns"),
    [
        (["year"], "the columns year, and any optional ones."),
        (["weight_kg", "year"], "the columns weight_kg, year."),
        ([], "any of the columns weight_kg, year."),
    ],
)
def test_before_the_first_answer_the_page_says_what_to_do(
    visit: Any, service: Any, required: list[str], columns: str
) -> None:
    def before(route: Any) -> None:
        card = route.fetch().json()
        fields = {name: card["request"]["properties"][name] for name in CAR}
        request = {"properties": fields, "required": required, "example": CAR}
        route.fulfill(json=card | {"request": request, "page": {"examples": [CAR]}})

    visited = visit(service.url, before=lambda page: page.route("**/card", before))
    visited.page.wait_for_selector("#ask:visible")

    assert visited.text("#said") == "An example is filled in: press “Predict”."
    assert f"Its first line names {columns}" in visited.text("#batch-hint")
