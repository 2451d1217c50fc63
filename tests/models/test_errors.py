"""An error in a model's code is told with the file and line of that code."""

import importlib
import re

import pytest

from roadworthy.models import fuel
from roadworthy.models.errors import described


def raised(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any error will do
        call()
    return described(caught.value)


def test_the_place_is_the_models_own_even_if_a_library_raised_it():
    told = raised(lambda: fuel.train(fuel.candidates[0], None))

    place = r"\(src/roadworthy/models/fuel/estimator\.py, line \d+, in train\)"
    assert re.fullmatch(rf"TypeError: 'NoneType' .* {place}", told)


def test_an_installed_models_place_is_its_file(installed_models):
    ripeness = importlib.import_module("ripeness")

    told = raised(lambda: ripeness.prepare(None))
    assert f"({ripeness.__file__}, line " in told
    assert told.endswith("in prepare)")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: int("a"), "ValueError: invalid literal for int() with base 10: 'a'"),
        (lambda: compile("a b", "there.py", "exec"), "SyntaxError: invalid syntax (there.py, line"),
    ],
)
def test_another_error_is_told_as_it_is(call, told):
    assert raised(call).startswith(told)
