"""A plain FastAPI application: the estimator by joblib, a pydantic model of a request.

``python plain_fastapi.py JOBLIB PORT``
"""

import sys
from typing import Any, Literal

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
estimator = joblib.load(sys.argv[1])


class Car(BaseModel):
    """A row, every field of which is said."""

    weight_kg: float
    year: int
    cylinders: int
    displacement: float
    horsepower: float
    acceleration: float
    origin: Literal["usa", "europe", "japan"]


class Cars(BaseModel):
    """A request."""

    instances: list[Car]


@app.post("/predict")
def predict(cars: Cars) -> dict[str, Any]:
    """Answer a request."""
    frame = pd.DataFrame([car.model_dump() for car in cars.instances])
    return {"predictions": estimator.predict(frame).to_dict("records")}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
