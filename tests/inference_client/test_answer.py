"""The form and the answer: what is typed reaches the service, what it says reaches the reader."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.models.fuel import units

CAR = {"weight_kg": 1200, "year": 1980}
WHOLE_CAR = CAR | {
    "cylinders": 4,
    "displacement": 119.5,
    "horsepower": 92,
    "acceleration": 15.5,
    "origin": "japan",
}


def shown(answer: dict[str, float], unit: str, name: str) -> str:
    return f"90 % interval: {answer[f'{unit}_low']:.1f} to {answer[f'{unit}_high']:.1f} {name}"


def test_one_click_shows_the_answer_of_the_service(opened: Any, service: Any) -> None:
    answer = service.answer(CAR)

    assert opened.predict() == CAR

    number = opened.page.locator("#number")
    assert float(number.get_attribute("value")) == answer["l_per_100km"]
    assert opened.text("#number") == f"{answer['l_per_100km']:.1f}"
    assert opened.text("#interval") == shown(answer, "l_per_100km", "l/100 km")
    assert opened.text("#whose") == "For a car of 1,200 kg, model year 1980."


def test_the_answer_is_announced_as_a_whole(opened: Any) -> None:
    said = opened.page.locator("#said")
    assert said.get_attribute("aria-live") == "polite"
    assert said.get_attribute("aria-atomic") == "true"
    opened.predict()
    assert re.fullmatch(r"[\d.]+ l/100 km 90 % interval: .* For a car of .*", opened.text("#said"))


def test_the_switch_to_mpg_shows_what_the_service_says_in_mpg(opened: Any, service: Any) -> None:
    answer = service.answer(CAR)
    opened.predict()

    opened.page.locator("[value=mpg]").check()

    assert float(opened.page.locator("#number").get_attribute("value")) == answer["mpg"]
    assert opened.text("#interval") == shown(answer, "mpg", "mpg")
    assert len(opened.asked) == 1


def test_a_switched_weight_is_sent_as_it_was_typed(opened: Any) -> None:
    opened.page.fill("#weight_kg", "1234.5")

    opened.page.locator("[value=lb]").check()
    assert opened.page.input_value("#weight_kg") == f"{1234.5 / 0.45359237:.2f}"
    assert opened.predict()["weight_kg"] == 1234.5

    opened.page.locator("[value=kg]").check()
    assert opened.page.input_value("#weight_kg") == "1234.5"
    assert opened.text("#whose") == "For a car of 1,234.5 kg, model year 1980."


def test_a_weight_typed_in_pounds_is_sent_in_kilograms(opened: Any, service: Any) -> None:
    opened.page.locator("[value=lb]").check()
    opened.page.fill("#weight_kg", "3,000")

    sent = opened.predict()

    assert sent == {"weight_kg": 3000 * 0.45359237, "year": 1980}
    value = opened.page.locator("#number").get_attribute("value")
    assert float(value) == service.answer(sent)["l_per_100km"]
    assert opened.text("#whose") == "For a car of 3,000 lb, model year 1980."


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.floats(0.1, 1e5), min_size=50, max_size=50))
def test_the_page_converts_as_the_model_does(opened: Any, values: list[float]) -> None:
    found = opened.page.evaluate(
        """async (values) => {
            const {weight, consumption} = await import("/units.js");
            return [
                values.map((value) => weight(value, "kg", "lb")),
                values.map((value) => weight(value, "lb", "kg")),
                values.map((value) => consumption(value, "mpg")),
            ];
        }""",
        values,
    )
    assert found == [
        [units.pounds(value) for value in values],
        [units.kilograms(value) for value in values],
        [units.consumption(value) for value in values],
    ]


def test_numbers_are_read_as_people_write_them(opened: Any) -> None:
    expected = {
        "1200": 1200,
        " 1 200 ": 1200,
        "1,200": 1200,
        "1,200.5": 1200.5,
        "12,5": 12.5,
        "-3": -3,
        ".5": 0.5,
        "": None,
        "1.2.3": None,
        "1e3": None,
        "abc": None,
        "0x10": None,
    }
    parse = (
        'async (texts) => { const {parse} = await import("/units.js"); return texts.map(parse); }'
    )
    assert opened.page.evaluate(parse, list(expected)) == list(expected.values())


@pytest.mark.parametrize(("unit", "limits"), [("kg", "700 to 2,400"), ("lb", "1,544 to 5,291")])
def test_limits_follow_the_unit_and_are_accepted(opened: Any, unit: str, limits: str) -> None:
    opened.page.locator(f"[value={unit}]").check()
    assert opened.text("#weight_kg-hint") == f"Weight of the car, {limits} {unit}."
    for limit in limits.split(" to "):
        opened.page.fill("#weight_kg", limit)
        opened.predict()
        assert opened.text("#whose").startswith(f"For a car of {limit} {unit}")


def test_hints_come_from_the_card(opened: Any) -> None:
    opened.page.click("#more summary")
    assert opened.text("#year-hint") == "Model year, 1970 to 1982."
    assert opened.text("#displacement-hint") == "Engine displacement, 60 to 480 cu in."
    assert opened.text("#acceleration-hint") == "Time from 0 to 60 mph, 7 to 26 s."
    choices = opened.page.locator("#origin option").all_inner_texts()
    assert choices == ["Not given", "USA", "Europe", "Japan"]


def test_optional_fields_reach_the_request(opened: Any, service: Any) -> None:
    page = opened.page
    page.click("#more summary")
    for name in ("cylinders", "displacement", "horsepower", "acceleration"):
        page.fill(f"#{name}", str(WHOLE_CAR[name]))
    page.select_option("#origin", "japan")

    assert opened.predict() == WHOLE_CAR

    value = page.locator("#number").get_attribute("value")
    assert float(value) == service.answer(WHOLE_CAR)["l_per_100km"]
    assert opened.text("#whose") == (
        "For a car of 1,200 kg, model year 1980, 4 cylinders, 119.5 cu in, 92 hp, "
        "15.5 s to 60 mph, made in Japan."
    )


def test_errors_are_told_in_words_at_the_field(opened: Any) -> None:
    page = opened.page
    page.fill("#weight_kg", "")
    page.fill("#year", "1999")
    page.click("#more summary")
    page.fill("#displacement", "big")
    page.click("#more summary")  # folded away again

    page.click("#ask")
    page.wait_for_selector("#weight_kg-error:visible")

    assert opened.text("#weight_kg-error").endswith("Missing: enter 700 to 2,400 kg.")
    assert opened.text("#year-error").endswith("Out of range: enter 1970 to 1982.")
    assert opened.text("#displacement-error").endswith("Not a number: enter 60 to 480 cu in.")
    assert page.locator("[aria-invalid=true]").count() == 3
    assert page.evaluate("document.activeElement.id") == "weight_kg"
    described = page.locator("#weight_kg").get_attribute("aria-describedby")
    assert "weight_kg-error" in described.split()
    assert page.locator("#told").is_hidden()


def test_an_error_in_pounds_speaks_of_pounds(opened: Any) -> None:
    opened.page.locator("[value=lb]").check()
    opened.page.fill("#weight_kg", "9000")
    opened.page.click("#ask")
    opened.page.wait_for_selector("#weight_kg-error:visible")
    error = opened.text("#weight_kg-error")
    assert error.endswith("Out of range: enter 1,544 to 5,291 lb.")


@pytest.mark.parametrize("unit", ["kg", "lb"])
def test_an_error_writes_its_limits_as_the_hint_does(opened: Any, unit: str) -> None:
    # given a hint with limits
    opened.page.locator(f"[value={unit}]").check()
    limits = re.search(r"[\d,]+ to [\d,]+ (kg|lb)\.", opened.text("#weight_kg-hint"))[0]

    # when a weight is beyond them
    opened.page.fill("#weight_kg", "90000")
    opened.page.click("#ask")
    opened.page.wait_for_selector("#weight_kg-error:visible")

    # then the error names the same limits, letter by letter
    assert "," in limits
    assert opened.text("#weight_kg-error").endswith(f"enter {limits}")


def test_an_answer_of_an_earlier_car_says_so_until_the_next_answer(opened: Any) -> None:
    # given an answer
    page = opened.page
    opened.predict()
    number = opened.text("#number")
    colour = "getComputedStyle(document.getElementById('number')).color"
    fresh = page.evaluate(colour)
    assert opened.text("#earlier") == ""

    # when another car is refused
    page.fill("#year", "1999")
    page.click("#ask")
    page.wait_for_selector("#year-error:visible")

    # then the answer stays, dimmed and with a note of whose it is, in the unit chosen
    assert opened.text("#number") == number
    assert opened.text("#earlier") == "This answer is of the earlier car: 1,200 kg, 1980."
    assert page.evaluate(colour) != fresh
    assert page.locator("#asked-car").text_content() == "earlier car"
    page.locator("[value=lb]").check()
    assert opened.text("#earlier") == "This answer is of the earlier car: 2,645.5 lb, 1980."

    # and the next answer is at full strength again
    page.fill("#year", "1976")
    opened.predict()
    assert opened.text("#earlier") == ""
    assert page.evaluate(colour) == fresh
    assert page.locator("#asked-car").text_content() == "this car"


def test_a_mended_field_is_answered(opened: Any) -> None:
    page = opened.page
    page.fill("#year", "1980.5")
    page.click("#ask")
    page.wait_for_selector("#year-error:visible")
    assert "Not a whole number: enter 1970 to 1982." in opened.text("#year-error")

    page.fill("#year", "1976")

    assert page.locator("#year-error").is_hidden()
    assert opened.predict() == {"weight_kg": 1200, "year": 1976}
    assert page.locator("[aria-invalid]").count() == 0


def test_the_keyboard_is_enough(opened: Any, service: Any) -> None:
    page = opened.page
    keyboard = page.keyboard

    def focus() -> str:
        outline = page.evaluate(
            """() => {
                const of = document.activeElement;
                const drawn = of.type === "radio" ? of.closest("label") : of;
                return parseFloat(getComputedStyle(drawn).outlineWidth);
            }"""
        )
        assert outline >= 2, "focus is not visible"
        found: str = page.evaluate(
            "document.activeElement.id || document.activeElement.value"
            " || document.activeElement.tagName"
        )
        return found

    keyboard.press("Tab")
    assert focus() == "weight_kg"
    keyboard.press("Control+A")
    keyboard.type("1000")
    keyboard.press("Tab")
    assert focus() == "kg"
    keyboard.press("ArrowRight")
    assert focus() == "lb"
    keyboard.press("ArrowLeft")
    keyboard.press("Tab")
    assert focus() == "year"
    keyboard.press("Tab")
    assert focus() == "SUMMARY"
    keyboard.press("Enter")
    keyboard.press("Tab")
    assert focus() == "cylinders"
    keyboard.type("4")
    keyboard.press("Enter")
    page.wait_for_selector("#asked-car")
    for _ in range(5):
        keyboard.press("Tab")
    assert focus() == "ask"
    keyboard.press("Tab")
    assert focus() == "l_per_100km"
    keyboard.press("ArrowRight")

    car = {"weight_kg": 1000, "year": 1980, "cylinders": 4}
    assert opened.asked == [car]
    assert opened.text("#number") == f"{service.answer(car)['mpg']:.1f}"


def test_every_control_has_a_name(opened: Any) -> None:
    opened.page.click("#more summary")
    tree = opened.page.locator("main").aria_snapshot()
    for name in ("Weight", "Model year", "Cylinders", "Displacement", "Horsepower", "Acceleration"):
        assert f'textbox "{name}"' in tree
    assert 'combobox "Origin"' in tree
    assert 'group "Unit of weight"' in tree
    assert 'group "Unit of consumption"' in tree
    assert 'radio "kg" [checked]' in tree
    assert 'button "Predict consumption"' in tree


def test_reloading_brings_the_car_back(opened: Any) -> None:
    page = opened.page
    page.locator("[value=lb]").check()
    page.locator("[value=mpg]").check()
    page.fill("#weight_kg", "3000")
    page.click("#more summary")
    page.select_option("#origin", "europe")
    sent = opened.predict()

    page.reload()
    page.wait_for_selector("#model[data-state=ready]")

    assert page.input_value("#weight_kg") == "3000"
    assert page.locator("[value=mpg]").is_checked()
    assert opened.predict() == sent
