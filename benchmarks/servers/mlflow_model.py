"""Saves the estimator as an MLflow model: ``python mlflow_model.py JOBLIB TARGET``."""

import sys

import joblib
import mlflow.sklearn

mlflow.sklearn.save_model(
    joblib.load(sys.argv[1]),
    sys.argv[2],
    serialization_format="cloudpickle",
    pip_requirements=[],
)
