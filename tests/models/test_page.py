"""What a model adds to its page is checked against its schemas before it is packed."""

import pytest
from pydantic import BaseModel, Field

from roadworthy.models.page import Page, Scatter, Series


class Request(BaseModel):
    size: float = Field(le=10)
    values: list[float] = []


class Answer(BaseModel):
    price: float
    marks: list[bool]


KNOWN = {"size": [1, 2], "price": [3, 4]}


def test_a_page_becomes_json():
    page = Page([{"size": 1}], Scatter("size", "price", "", KNOWN))
    assert page.document(Request, Answer) == {
        "examples": [{"size": 1}],
        "figure": {"kind": "scatter", "x": "size", "y": "price", "color": "", "points": KNOWN},
    }
    assert Page().document(Request, Answer) == {"examples": [], "figure": None}
    series = Page(figure=Series("values", "marks")).document(Request, Answer)
    assert {"kind": "series", "values": "values", "marks": "marks"}.items() <= series[
        "figure"
    ].items()


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (Page([{"size": 1}, {"size": 11}]), "example 2 of the page is not a request"),
        (Page(figure=Scatter("size", "price", "kind", KNOWN)), "must be the columns"),
        (Page(figure=Scatter("size", "price", "", KNOWN | {"price": [3]})), "of one length"),
        (Page(figure=Scatter("width", "price", "", {"width": [1], "price": [1]})), "'width'"),
        (Page(figure=Series("marks", "values")), "needs the list 'marks' in the request"),
    ],
)
def test_a_page_that_does_not_fit_its_model_is_refused(page, told):
    with pytest.raises(ValueError, match=told):
        page.document(Request, Answer)
