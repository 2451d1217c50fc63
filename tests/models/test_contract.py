"""What a model offers: loading by name, bounds and checks."""

import importlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models import contract
from roadworthy.models.contract import Bound
from tests.loading import loaded_by

PARTS = [
    *contract.Model.__annotations__,
    *(
        name
        for name, part in vars(contract.Model).items()
        if callable(part) and not name.startswith("_")
    ),
]
numbers = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", contract.available())
def test_a_model_has_every_part_of_the_contract(name):
    model = contract.load(name)

    assert {"schema", "candidates", "train", "behaviour"} <= set(PARTS)
    assert [part for part in PARTS if not hasattr(model, part)] == []
    assert model.name == name


def test_an_unknown_model_is_told_with_those_there_are_and_what_to_do():
    with pytest.raises(contract.UnknownModelError) as caught:
        contract.load("fule")

    sentence = str(caught.value)
    assert "'fule'" in sentence
    assert "fuel" in sentence
    assert "src/roadworthy/models/fule/" in sentence


def test_a_model_of_another_distribution_is_found_and_has_every_part(installed_models):
    assert {"fuel", "ripeness", "shapes", "spikes"} <= set(contract.available())

    model = contract.load("ripeness")

    assert [part for part in PARTS if not hasattr(model, part)] == []
    assert (model.title, model.task, model.key) == (
        "Ripeness of a fruit",
        "classification",
        ("fruit",),
    )
    assert (contract.load("spikes").resources, model.extra, model.routes) == ({}, "", ())


def test_a_part_without_a_default_is_named_where_it_lacks(installed_models, monkeypatch):
    monkeypatch.delattr(importlib.import_module("ripeness"), "split")
    with pytest.raises(AttributeError, match="'ripeness' has no 'split'"):
        _ = contract.load("ripeness").split
    assert not hasattr(contract.load("ripeness"), "ingest")


def test_a_package_of_another_name_is_refused(installed_models, monkeypatch):
    monkeypatch.setattr(importlib.import_module("shapes"), "name", "forms")
    with pytest.raises(contract.IncompleteModelError, match="Set its `name` to 'shapes'"):
        contract.load("shapes")


def test_reading_the_request_costs_no_training_library():
    # when a fresh interpreter looks at a request only
    loaded = loaded_by("import roadworthy.models.fuel as fuel; fuel.Request")

    # then nothing heavy was imported
    assert not loaded & {"sklearn", "pandas", "pandera", "onnx", "matplotlib"}


@given(limit=numbers, value=numbers)
def test_at_least_and_at_most_are_opposite_but_at_the_limit(limit, value):
    low = Bound("x", "at least", limit).check(value)
    high = Bound("x", "at most", limit).check(value)

    assert low.passed == (value >= limit)
    assert (low.passed and high.passed) == (value == limit)
    assert low.passed or high.passed


@pytest.mark.parametrize("comparison", ["at least", "at most"])
def test_not_a_number_never_passes(comparison):
    assert not Bound("x", comparison, 0.0).check(math.nan).passed


def test_a_check_is_a_sentence_with_value_bound_and_unit():
    check = Bound("mae_mpg", "at most", 2.6, "mpg").check(2.75)

    assert str(check) == "mae_mpg is 2.75 mpg, at most 2.6 mpg is required"


def test_a_module_named_dataset_does_not_hide_the_dataset(monkeypatch):
    # given a package whose module of that name was imported, which has no such value
    package = ModuleType("pears")
    package.name, package.dataset = "pears", ModuleType("pears.dataset")
    package.read = lambda path: pd.DataFrame({"path": [str(path)]})
    point = SimpleNamespace(name="pears", load=lambda: package)
    monkeypatch.setattr(contract, "entry_points", lambda group: [point])

    # when its data is read, then its own function does it
    assert contract.load("pears").dataset.read(Path("a.csv"))["path"].tolist() == ["a.csv"]
