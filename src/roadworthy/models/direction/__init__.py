"""Whether the market closes up or down on the next trading day, learnt from daily closes.

The figures are honest: the direction of the next close is near chance, and the card says so.

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn. ``__init__.pyi`` says from where.
"""

from collections.abc import Mapping, Sequence

import lazy_loader

from roadworthy.models.contract import Resources, Route

name = "direction"
title = "Direction of the next close"
task = "classification"
data = "data/direction.csv.dvc"
key = ("trading_day",)
extra = "market"
resources: Mapping[str, Resources] = {}
routes: Sequence[Route] = ()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
