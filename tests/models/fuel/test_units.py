"""Conversions are exact, and go back to where they came from."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.fuel import units

positive = st.floats(1e-3, 1e6)


def test_the_constants_are_the_exact_ones():
    inch = Fraction("0.0254")
    litres_per_gallon = 231 * inch**3 * 1000
    kilometres_per_mile = 63360 * inch / 1000

    assert units.KILOGRAMS_PER_POUND == 0.45359237
    assert float(litres_per_gallon) == units.LITRES_PER_GALLON
    assert float(kilometres_per_mile) == units.KILOMETRES_PER_MILE
    litres_times_miles = float(100 * litres_per_gallon / kilometres_per_mile)
    assert litres_times_miles == pytest.approx(units.L_PER_100KM_TIMES_MPG, rel=1e-15)


@given(positive)
def test_pounds_and_kilograms_go_back(weight):
    assert units.pounds(units.kilograms(weight)) == pytest.approx(weight, rel=1e-15)


@given(positive)
def test_consumption_goes_back_by_itself(mpg):
    assert units.consumption(units.consumption(mpg)) == pytest.approx(mpg, rel=1e-15)
