"""The run as a ZenML pipeline: ``python zenml_pipeline.py data.csv``."""

import sys
from typing import Annotated

import pandas as pd
import work
from zenml import pipeline, step
from zenml.materializers import CloudpickleMaterializer

from roadworthy.models.contract import Evaluation
from roadworthy.training.fitting import Fitted
from roadworthy.training.gate import Verdict


@step
def validate(data: str) -> Annotated[pd.DataFrame, "raw"]:
    """Validate the data."""
    return work.validate(data)


@step
def prepare(
    raw: pd.DataFrame,
) -> tuple[Annotated[pd.DataFrame, "train_rows"], Annotated[pd.DataFrame, "hold_out"]]:
    """Split the rows."""
    train_rows, hold_out = work.prepare(raw)
    return train_rows, hold_out


@step(output_materializers=CloudpickleMaterializer)
def train(train_rows: pd.DataFrame) -> Annotated[Fitted, "fitted"]:
    """Train the candidates."""
    return work.train(train_rows)


@step(output_materializers={"evaluation": CloudpickleMaterializer})
def evaluate(
    fitted: Fitted, hold_out: pd.DataFrame
) -> tuple[Annotated[Evaluation, "evaluation"], Annotated[bytes, "graph"]]:
    """Evaluate the best one."""
    evaluation, graph = work.evaluate(fitted, hold_out)
    return evaluation, graph


@step(output_materializers=CloudpickleMaterializer)
def gate(fitted: Fitted, graph: bytes, hold_out: pd.DataFrame) -> Annotated[Verdict, "verdict"]:
    """Decide whether it is released."""
    return work.gate(fitted, graph, hold_out)


@step
def log(
    fitted: Fitted, evaluation: Evaluation, graph: bytes, verdict: Verdict, hold_out: pd.DataFrame
) -> Annotated[int, "version"]:
    """Log it to MLflow."""
    return work.log(fitted, evaluation, graph, verdict, hold_out)


@pipeline(enable_cache=False)
def fuel(data: str) -> None:
    """Validate, prepare, train, evaluate, gate and log the fuel model."""
    train_rows, hold_out = prepare(validate(data))
    fitted = train(train_rows)
    evaluation, graph = evaluate(fitted, hold_out)
    verdict = gate(fitted, graph, hold_out)
    log(fitted, evaluation, graph, verdict, hold_out)


if __name__ == "__main__":
    fuel(sys.argv[1])
