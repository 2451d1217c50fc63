"""A stock KServe model server: the estimator by joblib, KServe's own routes and defaults.

``python stock_kserve.py JOBLIB HTTP_PORT GRPC_PORT``
"""

import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from kserve import Model, ModelServer


class Fuel(Model):
    """The estimator as KServe's documentation wraps one."""

    def __init__(self, path: Path) -> None:
        super().__init__("fuel")
        self.estimator = joblib.load(path)
        self.ready = True

    def predict(
        self,
        payload: dict[str, Any],
        headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Answer a V1 request."""
        answers = self.estimator.predict(pd.DataFrame(payload["instances"]))
        return {"predictions": answers.to_dict("records")}


if __name__ == "__main__":
    _, joblib_path, http_port, grpc_port = sys.argv
    server = ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1)
    server.start([Fuel(Path(joblib_path))])
