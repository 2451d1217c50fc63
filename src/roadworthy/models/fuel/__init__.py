"""Fuel consumption of a car, learnt from the 398 cars of the auto-mpg data (1970 to 1982).

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn.
"""

from typing import TYPE_CHECKING

import lazy_loader

name = "fuel"
data = "data.csv.dvc"

if TYPE_CHECKING:
    from roadworthy.models.fuel.dataset import prepare, read, split
    from roadworthy.models.fuel.estimator import candidates, train
    from roadworthy.models.fuel.evaluation import (
        behaviour,
        criteria,
        cross_validate,
        evaluate,
        page,
        score,
    )
    from roadworthy.models.fuel.graph import export
    from roadworthy.models.fuel.request import Answer, Request
    from roadworthy.models.fuel.schema import schema
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "dataset": ["prepare", "read", "split"],
            "estimator": ["candidates", "train"],
            "evaluation": [
                "behaviour",
                "criteria",
                "cross_validate",
                "evaluate",
                "page",
                "score",
            ],
            "graph": ["export"],
            "request": ["Answer", "Request"],
            "schema": ["schema"],
        },
    )

__all__ = [
    "Answer",
    "Request",
    "behaviour",
    "candidates",
    "criteria",
    "cross_validate",
    "data",
    "evaluate",
    "export",
    "name",
    "page",
    "prepare",
    "read",
    "schema",
    "score",
    "split",
    "train",
]
