"""Outliers in the series of a temperature sensor that sends a value every half hour.

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn. ``__init__.pyi`` says from where.
"""

from collections.abc import Mapping, Sequence

import lazy_loader

from roadworthy.models.contract import Resources, Route

name = "outliers"
title = "Outliers in a sensor's series"
task = "anomaly"
data = "data/outliers.csv.dvc"
key = ("time_s",)
extra = ""
resources: Mapping[str, Resources] = {}
routes: Sequence[Route] = ()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
