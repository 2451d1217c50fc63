"""Fuel consumption of a car, learnt from the 398 cars of the auto-mpg data (1970 to 1982).

Everything is loaded when it is first used, so that reading a request's schema costs no
scikit-learn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import lazy_loader

from roadworthy.models.contract import Resources, Route

name = "fuel"
title = "Fuel consumption of a car"
task = "regression"
data = "data.csv.dvc"
key = ()
"""Nothing names a car of the data: two rows are the same car where every column is equal."""
extra = ""
resources: Mapping[str, Resources] = {}
routes: Sequence[Route] = ()

if TYPE_CHECKING:
    from roadworthy.models.fuel.dataset import dataset, prepare, read, split
    from roadworthy.models.fuel.estimator import candidates, train
    from roadworthy.models.fuel.evaluation import (
        behaviour,
        criteria,
        cross_validate,
        evaluate,
        page,
        score,
        tolerance,
    )
    from roadworthy.models.fuel.graph import export
    from roadworthy.models.fuel.request import Answer, Request
    from roadworthy.models.fuel.schema import schema
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "dataset": ["dataset", "prepare", "read", "split"],
            "estimator": ["candidates", "train"],
            "evaluation": [
                "behaviour",
                "criteria",
                "cross_validate",
                "evaluate",
                "page",
                "score",
                "tolerance",
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
    "dataset",
    "evaluate",
    "export",
    "extra",
    "key",
    "name",
    "page",
    "prepare",
    "read",
    "resources",
    "routes",
    "schema",
    "score",
    "split",
    "task",
    "title",
    "tolerance",
    "train",
]
