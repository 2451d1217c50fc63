"""A BentoML service: the estimator by joblib, whose path the variable ``MODEL`` names."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Fuel:
    """The estimator as BentoML's documentation wraps one."""

    def __init__(self) -> None:
        self.estimator = joblib.load(os.environ["MODEL"])

    @bentoml.api(route="/predict")
    def predict(self, instances: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Answer a request."""
        return self.estimator.predict(pd.DataFrame(instances)).to_dict("records")
