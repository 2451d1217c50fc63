"""Fuel consumption of a car, learnt from the 398 cars of the auto-mpg data (1970 to 1982).

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn. ``__init__.pyi`` says from where.
"""

from collections.abc import Mapping, Sequence

import lazy_loader

from roadworthy.models.contract import Resources
from roadworthy.models.routes import Route

name = "fuel"
title = "Fuel consumption of a car"
task = "regression"
data = "data.csv.dvc"
key = ()
"""Nothing names a car of the data: two rows are the same car where every column is equal."""
extra = ""
resources: Mapping[str, Resources] = {}
routes: Sequence[Route] = ()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
