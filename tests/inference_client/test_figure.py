"""The figure of a model: the known examples, the request among them, and the same in words."""

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
        const slope = (other[at] - one[at]) / (other.value - one.value);
        return (value) => one[at] + (value - one.value) * slope;
    };
    const x = line(ticks.filter((tick) => tick.across), "x");
    const y = line(ticks.filter((tick) => !tick.across), "y");
    return {
        x0: x(0), x1: x(1) - x(0), y0: y(0) - 4, y1: y(1) - y(0),
        cx: Number(document.querySelector("#asked circle").getAttribute("cx")),
        cy: Number(document.querySelector("#asked circle").getAttribute("cy")),
        whisker: document.querySelector("#asked .whisker").getAttribute("d"),
    };
}"""


def test_the_known_examples_are_points_in_the_colours_of_the_legend(opened: Any) -> None:
    page = opened.page
    page.wait_for_selector("svg.scatter")
    assert page.locator("circle.point").count() == 398
    assert page.locator("#asked").count() == 0
    assert opened.text("#legend") == "Model year 1970 1982"
    swatches, points = page.evaluate(
        """() => {
            const all = (of, what) =>
                [...document.querySelectorAll(of)].map((one) => getComputedStyle(one)[what]);
            return [all(".swatch", "backgroundColor"), all("g.points", "fill")];
        }"""
    )
    assert len(set(points)) == 13
    assert swatches == points


def test_the_request_stands_where_the_axes_say(opened: Any, service: Any) -> None:
    opened.predict()
    answer = service.answer(CAR)
    for unit, weight in (("kg", 1200), ("lb", 1200 / 0.45359237)):
        opened.page.locator(f".switch [value={unit}]").check()
        assert f"Weight ({unit})" in opened.text("#chart")
        assert "Predicted consumption (l/100 km)" in opened.text("#chart")
        found = opened.page.evaluate(MAPPING)
        bottom, middle, top = (
            found["y0"] + found["y1"] * answer[f"l_per_100km{end}"] for end in ("_low", "", "_high")
        )
        start, stop = re.match(r"M[\d.]+ ([\d.]+)V([\d.]+)", found["whisker"]).groups()
        assert abs(found["x0"] + found["x1"] * weight - found["cx"]) < 0.5
        assert abs(middle - found["cy"]) < 0.5
        assert abs(bottom - float(start)) < 0.5
        assert abs(top - float(stop)) < 0.5


def test_the_figure_is_told_in_words(opened: Any, service: Any, cars: Any) -> None:
    opened.predict()
    answer = service.answer(CAR)
    lower = int((235.214583 / cars["mpg"] < answer["l_per_100km"]).sum())

    words = opened.page.locator("svg.scatter").get_attribute("aria-label")
    place = opened.text("#place")

    assert words.startswith("398 known examples: Weight from 731.6 kg to 2,332 kg, ")
    assert "coloured by Model year from 1970 to 1982" in words
    assert "This request is marked at 1,200 kg and " in words
    said = re.match(r"The prediction is higher than (\d+) of the 398 known examples", place)
    # the points on the page are rounded to a hundredth
    assert abs(int(said[1]) - lower) <= 3
    assert "differ by at most 5 % in “Weight” lie between" in place


def test_a_point_is_read_by_the_pointer(opened: Any) -> None:
    opened.page.locator("circle.point").nth(7).hover(force=True)
    assert re.fullmatch(
        r"Weight: [\d,.]+ kg; Predicted consumption: [\d.]+ l/100 km; Model year: 19\d\d",
        opened.text("#reading"),
    )


def test_a_bundle_of_before_has_only_points(visit: Any, service: Any) -> None:
    def before(route: Any) -> None:
        card = route.fetch().json()
        page = card.pop("page")
        route.fulfill(json=card | {"points": page["figure"]["points"]})

    visited = visit(service.url, before=lambda page: page.route("**/card", before))
    visited.page.wait_for_selector("svg.scatter")
    assert visited.page.locator("circle.point").count() == 398
    assert visited.text("#legend") == "Model year 1970 1982"
    # and its form starts from the example of the schema
    assert visited.predict() == CAR
    assert visited.page.locator("#asked .whisker").count() == 1
