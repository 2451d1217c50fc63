"""Rows that are sent again and again tell nothing new."""

import numpy as np
import pytest

from roadworthy.models.tensors import ragged
from roadworthy.serving.models.repetition import EffectiveRows


def test_only_different_rows_count():
    rows = EffectiveRows()

    for n in range(1000):
        found = rows.add({"x": np.array([n % 20 * 1.0]), "name": np.array(["a"], object)})

    assert found == pytest.approx(20)
    # one row that comes as often as all others is nearly all that there is
    for _ in range(1000):
        found = rows.add({"x": np.array([-1.0]), "name": np.array(["a"], object)})
    assert 3 < found < 5


def test_the_rows_of_a_request_are_different_whatever_they_hold():
    rows = EffectiveRows()

    lists = ragged([np.array([1.0, 2.0]), np.array([3.0])])

    assert [rows.add({"window": lists}) for _ in range(2)] == [2, 2]
    assert rows.add({"window": lists[::-1]}) == pytest.approx(6**2 / (2 * 2**2 + 2))
