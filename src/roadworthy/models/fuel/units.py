"""Exact conversions between the units of the data and those of requests and answers.

The pound and the mile are exact by the international yard and pound agreement of 1959; the US
gallon is 231 cubic inches of 25.4 mm. See NIST Special Publication 811, appendix B.
"""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

KILOGRAMS_PER_POUND = 0.45359237
LITRES_PER_GALLON = 3.785411784
KILOMETRES_PER_MILE = 1.609344
CUBIC_INCHES_PER_LITRE = 1000 / 16.387064
HORSEPOWER_PER_KILOWATT = 1 / 0.74569987158227022
L_PER_100KM_TIMES_MPG = 100 * LITRES_PER_GALLON / KILOMETRES_PER_MILE
"""Litres per 100 km times miles per US gallon: 235.2145..., whatever the car."""

Number = TypeVar("Number", float, "npt.NDArray[np.float64]")


def kilograms(pounds: Number) -> Number:
    """Return pounds as kilograms."""
    return pounds * KILOGRAMS_PER_POUND


def pounds(kilograms: Number) -> Number:
    """Return kilograms as pounds."""
    return kilograms / KILOGRAMS_PER_POUND


def consumption(mpg: Number) -> Number:
    """Return miles per US gallon as litres per 100 km. The same function goes back."""
    return L_PER_100KM_TIMES_MPG / mpg
