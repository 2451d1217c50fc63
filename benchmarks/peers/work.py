"""The work of a run. Each peer calls these functions and adds nothing but orchestration.

It is the work of Roadworthy's steps from ``prepare`` to ``release``, without Git, DVC, the server
and the canary: validate, prepare, train the same candidates, evaluate, gate against the champion,
and log a version to MLflow, at ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import mlflow
import onnx
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from roadworthy.bundles.scoring import Columns, Scorer, from_frame, to_frame
from roadworthy.models import fuel
from roadworthy.models.agreement import agree
from roadworthy.models.contract import Evaluation, Scores
from roadworthy.training import fitting
from roadworthy.training.fitting import Fitted
from roadworthy.training.gate import Verdict, decide

CALLS = 200
"""How often an answer is timed, as the gate of Roadworthy does."""


def validate(data: str) -> pd.DataFrame:
    """Return the rows of a file, validated."""
    return fuel.schema.validate(fuel.read(Path(data)))


def prepare(raw: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows to train on, and the hold-out."""
    return tuple(fuel.split(fuel.prepare(raw).frame))


def train(rows: pd.DataFrame) -> Fitted:
    """Return the best candidate, fitted."""
    return fitting.fit(fuel, rows)


def evaluate(fitted: Fitted, hold_out: pd.DataFrame) -> tuple[Evaluation, bytes]:
    """Return what the hold-out shows of an estimator, and its ONNX graph."""
    graph = fuel.export(fitted.estimator).SerializeToString(deterministic=True)
    return fuel.evaluate(fitted.estimator, hold_out), graph


def gate(fitted: Fitted, graph: bytes, hold_out: pd.DataFrame) -> Verdict:
    """Return the verdict on a candidate, which is compared with the champion if there is one.

    Raises
    ------
    RuntimeError
        A check failed.
    """
    scorer = Scorer(graph)
    requests = from_frame(hold_out, scorer.inputs)
    answered = scorer.score(requests)
    expected = fitted.estimator.predict(hold_out[list(scorer.inputs)])
    one = {name: column[:1] for name, column in requests.items()}
    verdict = decide(
        fuel.criteria,
        metrics=fitted.metrics,
        candidate=fuel.score(to_frame(answered, hold_out.index), hold_out),
        champion=_champion(hold_out),
        behaviour=fuel.behaviour(lambda rows: _answers(scorer, rows), hold_out),
        parity=agree(from_frame(expected, expected.columns), answered, fuel.tolerance),
        latency_ms=statistics.median(_milliseconds(scorer, one) for _ in range(CALLS)),
    )
    if not verdict.passed:
        raise RuntimeError(str(verdict))
    return verdict


def log(
    fitted: Fitted, evaluation: Evaluation, graph: bytes, verdict: Verdict, hold_out: pd.DataFrame
) -> int:
    """Log the run to MLflow, register its graph and make it the champion; return its version."""
    with mlflow.start_run(), tempfile.TemporaryDirectory() as scratch:
        mlflow.log_params({"candidate": fitted.candidate.name, **fitted.candidate.parameters})
        mlflow.log_metrics({**fitted.metrics, **evaluation.metrics})
        mlflow.set_tag("gate", str(verdict))
        for name, picture in evaluation.figures.items():
            Path(scratch, Path(name).name).write_bytes(picture)
        mlflow.log_artifacts(scratch, "figures")
        asked = hold_out[list(Scorer(graph).inputs)]
        logged = mlflow.onnx.log_model(
            onnx.load_from_string(graph),
            name="model",
            registered_model_name=fuel.name,
            signature=infer_signature(asked, fitted.estimator.predict(asked)),
            pip_requirements=["onnxruntime"],
        )
    version = int(logged.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(fuel.name, "champion", str(version))
    return version


def _champion(hold_out: pd.DataFrame) -> Scores | None:
    """Return the champion's scores on the hold-out, None before the first version."""
    try:
        graph = mlflow.onnx.load_model(f"models:/{fuel.name}@champion")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return fuel.score(_answers(Scorer(graph.SerializeToString()), hold_out), hold_out)


def _answers(scorer: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    return to_frame(scorer.score(from_frame(rows, scorer.inputs)), rows.index)


def _milliseconds(scorer: Scorer, request: Columns) -> float:
    started = time.perf_counter()
    scorer.score(request)
    return (time.perf_counter() - started) * 1000
