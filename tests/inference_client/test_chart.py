"""The scatter: the known cars, the asked car among them, and the same in words."""

import re
from typing import Any

CAR = {"weight_kg": 1200, "year": 1980}

MAPPING = """() => {
    const ticks = [...document.querySelectorAll("svg.scatter .tick")].map((of) => ({
        value: Number(of.textContent.replaceAll(",", "")),
        x: Number(of.getAttribute("x")), y: Number(of.getAttribute("y")),
        across: of.getAttribute("text-anchor") === "middle",
    }));
    const line = (points, at) => {
        const [one, other] = [points[0], points.at(-1)];
        return (value) => one[at] + (value - one.value) * (other[at] - one[at]) / (other.value - one.value);
    };
    const x = line(ticks.filter((tick) => tick.across), "x");
    const y = line(ticks.filter((tick) => !tick.across), "y");
    return {
        x0: x(0), x1: x(1) - x(0), y0: y(0) - 4, y1: y(1) - y(0),
        cx: Number(document.querySelector("#asked-car circle").getAttribute("cx")),
        cy: Number(document.querySelector("#asked-car circle").getAttribute("cy")),
        whisker: document.querySelector("#asked-car .whisker").getAttribute("d"),
    };
}"""  # noqa: E501


def test_there_is_a_point_for_each_known_car(opened: Any) -> None:
    page = opened.page
    page.wait_for_selector("svg.scatter")
    assert page.locator("circle.point").count() == 398
    assert page.locator("g.year").count() == 13
    assert page.locator("#asked-car").count() == 0
    colours = page.eval_on_selector_all(
        "g.year", "(groups) => groups.map((group) => getComputedStyle(group).fill)"
    )
    assert len(set(colours)) == 13


def test_the_legend_has_the_colours_of_the_points(opened: Any) -> None:
    page = opened.page
    page.wait_for_selector(".swatch")
    assert opened.text("#legend") == "Model year 1970 1982"
    swatches, points = page.evaluate(
        """() => [
            [...document.querySelectorAll(".swatch")].map((of) => getComputedStyle(of).backgroundColor),
            [...document.querySelectorAll("g.year")].map((of) => getComputedStyle(of).fill),
        ]"""  # noqa: E501
    )
    assert swatches == points


def check_mark(opened: Any, weight: float, answer: dict[str, float], unit: str) -> None:
    found = opened.page.evaluate(MAPPING)
    bottom, top = (found["y0"] + found["y1"] * answer[f"{unit}_{end}"] for end in ("low", "high"))
    start, stop = re.match(r"M[\d.]+ ([\d.]+)V([\d.]+)", found["whisker"]).groups()
    assert abs(found["x0"] + found["x1"] * weight - found["cx"]) < 0.5
    assert abs(found["y0"] + found["y1"] * answer[unit] - found["cy"]) < 0.5
    assert abs(bottom - float(start)) < 0.5
    assert abs(top - float(stop)) < 0.5
    assert top < found["cy"] < bottom


def test_the_asked_car_stands_where_the_axes_say(opened: Any, service: Any) -> None:
    opened.predict()
    answer = service.answer(CAR)
    check_mark(opened, 1200, answer, "l_per_100km")
    assert "Weight, kg" in opened.text("#chart")
    assert "Consumption, l/100 km" in opened.text("#chart")

    opened.page.locator("[value=lb]").check()
    opened.page.locator("[value=mpg]").check()

    check_mark(opened, 1200 / 0.45359237, answer, "mpg")
    assert "Weight, lb" in opened.text("#chart")
    assert "Consumption, mpg" in opened.text("#chart")


def test_the_chart_is_told_in_words(opened: Any, service: Any, cars: Any) -> None:
    opened.predict()
    answer = service.answer(CAR)
    thriftier = int((235.214583 / cars["mpg"] < answer["l_per_100km"]).sum())

    words = opened.page.locator("svg.scatter").get_attribute("aria-label")
    place = opened.text("#place")

    assert words.startswith("398 known cars, weight against consumption")
    assert f"1,200 kg and {answer['l_per_100km']:.1f} l/100 km" in words
    said = re.match(r"It needs more fuel than (\d+) of the 398 known cars", place)
    # the points on the page are rounded to a hundredth
    assert abs(int(said[1]) - thriftier) <= 3
    assert "cars within 5 % of its weight" in place


def test_the_interval_is_drawn_between_its_ends(opened: Any, service: Any) -> None:
    opened.predict()
    answer = service.answer(CAR)
    ends = opened.page.locator("svg.strip .end").all_text_contents()
    assert ends == [f"{answer[f'l_per_100km_{end}']:.1f}" for end in ("low", "high")]
    band, dot = (
        opened.page.locator(f"svg.strip .{of}").bounding_box() for of in ("band", "middle")
    )
    middle = dot["x"] + dot["width"] / 2
    assert band["x"] < middle < band["x"] + band["width"]


def test_the_chart_fits_the_window_again_when_that_changes(opened: Any) -> None:
    opened.predict()
    opened.page.set_viewport_size({"width": 390, "height": 800})
    opened.page.wait_for_function("() => document.querySelector('svg.scatter').clientWidth < 390")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
