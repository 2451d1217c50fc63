"""Whether the market closes up or down on the next trading day, learnt from daily closes.

The figures are honest: the direction of the next close is near chance, and the card says so.

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn. ``__init__.pyi`` says from where.
"""

from collections.abc import Mapping, Sequence

import lazy_loader

from roadworthy.models.contract import Resources, Windows
from roadworthy.models.routes import Choice, Route

name = "direction"
title = "Direction of the next close"
task = "classification"
data = "data/direction.csv.dvc"
key = ("trading_day",)
extra = ""
time = "trading_day"
windows = Windows(anchor_offset=365, training=(30, 365), evaluation=7, gap=1)
resources: Mapping[str, Resources] = {}
routes: Sequence[Route] = (
    Route(
        "/predictionForTomorrow",
        parameters={
            "threshold": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "default": 0.5,
                "description": "The call is UP where the probability of UP is above it.",
            }
        },
        answer={
            "prediction": Choice("probability_up", "{query.threshold}", "UP", "DOWN"),
            "confidence": "{answer.probability_up}",
            "threshold": "{query.threshold}",
            "model_source": "mlflow",
            "model_alias": "{model.alias}",
            "model_version": "{model.version}",
            "as_of": "{latest.as_of}",
            "next_trading_day": "{latest.next_trading_day}",
        },
        description="Whether the next trading day closes up or down. It is near chance.",
    ),
)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
