"""Models of other kinds, as their cards describe them: labels, a list in and out, an image."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, Field

from roadworthy.models.fields import number
from roadworthy.models.page import Page, Scatter, Series


class Flower(BaseModel):
    """One flower."""

    petal_cm: Annotated[
        float, number(0, 10, "cm", "Length of a petal.", units=[{"unit": "mm", "factor": 0.1}])
    ]
    wild: Annotated[bool, Field(description="Found in the wild.")]
    note: Annotated[str, Field(description="A remark.", max_length=20)] = ""
    soil: Annotated[Literal["clay", "sand"], Field(description="Soil.")] = "clay"


class Species(BaseModel):
    """The most likely species."""

    species: Annotated[Literal["iris", "rose"], Field(description="Species.")]
    likelihood: Annotated[float, number(0, 1, "", "Likelihood of the species.")]
    sure: Annotated[bool, Field(description="Whether the likelihood is above 0.9.")]


class Window(BaseModel):
    """A window of a series."""

    values: Annotated[
        list[float],
        Field(
            description="The newest measurements.",
            min_length=3,
            max_length=500,
            json_schema_extra={"unit": "V"},
        ),
    ]


class Marks(BaseModel):
    outliers: Annotated[list[bool], Field(description="Whether each value is an outlier.")]
    scores: Annotated[list[float], Field(description="Distance from the median.")]


class Picture(BaseModel):
    """One picture."""

    picture: Annotated[
        str,
        Field(
            description="A digit.",
            json_schema_extra={
                "contentEncoding": "base64",
                "image": {
                    "height": 16,
                    "width": 16,
                    "channels": 1,
                    "types": ["png", "jpeg"],
                    "max_bytes": 20_000,
                    "max_pixels": 1_000_000,
                },
            },
        ),
    ]


class Digit(BaseModel):
    digit: Annotated[int, Field(description="The digit.")]


def png(shade: int = 0, size: int = 16) -> bytes:
    """Return a picture of one shade with a line in it."""
    picture = Image.new("L", (size, size), shade)
    for place in range(size):
        picture.putpixel((place, place), 255)
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def _mark(request: dict[str, Any]) -> dict[str, Any]:
    middle = sorted(request["values"])[len(request["values"]) // 2]
    scores = [abs(value - middle) for value in request["values"]]
    return {"outliers": [score > 5 for score in scores], "scores": scores}


def _name(request: dict[str, Any]) -> dict[str, Any]:
    likelihood = min(1.0, abs(request["petal_cm"] - 5) / 5)
    species = "iris" if request["petal_cm"] < 5 else "rose"
    return {"species": species, "likelihood": likelihood, "sure": likelihood > 0.9}


def _read(request: dict[str, Any]) -> dict[str, Any]:
    return {"digit": Image.open(io.BytesIO(base64.b64decode(request["picture"]))).getpixel((1, 0))}


KNOWN = {
    "petal_cm": [1.0, 2.0, 4.0, 6.0, 8.0, 9.5],
    "likelihood": [0.8, 0.6, 0.2, 0.2, 0.6, 0.9],
    "species": ["iris", "iris", "iris", "rose", "rose", "rose"],
}


@dataclass
class Kind:
    """A model: its schemas, its page, and what answers a request."""

    request: type[BaseModel]
    answer: type[BaseModel]
    page: Page
    predict: Callable[[dict[str, Any]], dict[str, Any]]
    refusal: dict[str, Any] | None = None
    title: str = ""

    def card(self, name: str) -> dict[str, Any]:
        card = {
            "model": name,
            "title": self.title,
            "version": 1,
            "since": "2026-01-02T03:04:05+00:00",
            "digest": "d" * 64,
            "commit": "c" * 40,
            "candidate": "rules",
            "metrics": {"accuracy": 0.9, "rows": 30},
            "request": self.request.model_json_schema(),
            "answer": self.answer.model_json_schema(),
            "page": self.page.document(self.request, self.answer),
        }
        sorted_as_in_a_bundle: dict[str, Any] = json.loads(json.dumps(card, sort_keys=True))
        return sorted_as_in_a_bundle


def kinds() -> dict[str, Kind]:
    """Return the models by name."""
    flowers = [{"petal_cm": 2, "wild": True}, {"petal_cm": 8, "wild": False, "soil": "sand"}]
    scatter = Scatter("petal_cm", "likelihood", "species", KNOWN)
    window = {"values": [1.5, 2, 1, 9.5, 2, 1, 1.5, 2, -7, 1]}
    picture = {"picture": base64.b64encode(png(7)).decode()}
    return {
        "digits": Kind(Picture, Digit, Page([picture]), _read),
        "flowers": Kind(Flower, Species, Page(flowers, scatter), _name, title="Which flower?"),
        "windows": Kind(Window, Marks, Page([window], Series("values", "outliers")), _mark),
    }


def install(page: Any, models: dict[str, Kind]) -> None:
    """Let a page get these models' list, cards and answers in place of the server's."""

    def card(route: Any) -> None:
        name = route.request.url.split("/")[-2]
        found = name in models
        body = models[name].card(name) if found else {"error": f"There is no model {name}."}
        route.fulfill(status=200 if found else 404, json=body)

    def predict(route: Any) -> None:
        kind = models[route.request.url.split("/")[-1].removesuffix(":predict")]
        if kind.refusal:
            route.fulfill(status=422, json={"error": "No.", "details": [kind.refusal]})
            return
        answers = [kind.predict(of) for of in route.request.post_data_json["instances"]]
        route.fulfill(json={"predictions": answers})

    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [*models]}))
    page.route("**/v2/models/*/card", card)
    page.route("**/v1/models/*:predict", predict)
