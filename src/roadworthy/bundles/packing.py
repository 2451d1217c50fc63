"""Makes the bundle of a trained model: everything in it but the manifest's hashes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle, Golden, Manifest
from roadworthy.bundles.scoring import Scorer
from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Evaluation, Model

PACKAGES = (
    "joblib",
    "mapie",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pillow",
    "pydantic",
    "scikit-learn",
    "scipy",
)
"""The packages whose versions decide what training gives."""
GOLDEN_ROWS = 20
_BINS = 20


class PackingError(RoadworthyError):
    """There is no bundle to be made of what was trained."""


def pack(
    target: Path,
    *,
    model: Model,
    estimator: Any,
    evaluation: Evaluation,
    train: pd.DataFrame,
    test: pd.DataFrame,
    candidate: str,
    parameters: dict[str, float | str],
    metrics: dict[str, float],
    commit: str,
    data_hash: str,
) -> Bundle:
    """Write the bundle of an estimator to a directory and return it.

    Parameters
    ----------
    train, test
        The rows it was trained on, and the hold-out.
    metrics
        Of cross-validation; those of the hold-out come from the evaluation.
    """
    graph = model.export(estimator).SerializeToString(deterministic=True)
    inputs = list(Scorer(graph).inputs)
    manifest = Manifest(
        model=model.name,
        commit=commit,
        data_hash=data_hash,
        candidate=candidate,
        parameters=parameters,
        metrics=_finite(metrics | evaluation.metrics),
        request=model.Request.model_json_schema(),
        answer=model.Answer.model_json_schema(),
        packages={name: version(name) for name in PACKAGES},
    )
    whole = pd.concat([train, test], ignore_index=True)
    files = {
        bundle.MODEL: graph,
        bundle.ESTIMATOR: serialize(estimator),
        bundle.GOLDEN: bundle.encode(vars(golden(model, estimator, test[inputs]))),
        bundle.PROFILE: bundle.encode(profile(model, estimator, whole, inputs)),
        bundle.CARD: card(manifest, evaluation, len(train), len(test)).encode(),
        **{f"{bundle.FIGURES}/{name}.png": png for name, png in evaluation.figures.items()},
    }
    return bundle.write(target, manifest, files)


def golden(model: Model, estimator: Any, inputs: pd.DataFrame) -> Golden:
    """Return some twenty requests that keep the request's bounds, with the estimator's answers.

    They are spread evenly over the hold-out, and every third says only what a request must say.

    Raises
    ------
    PackingError
        No row of the hold-out is a request that the model takes.
    """
    schema = model.Request.model_json_schema()
    required = schema["required"]
    requests = (
        _request(row, schema["properties"], model.Request) for row in inputs.to_dict("records")
    )
    valid = [request for request in requests if request is not None]
    if not valid:
        raise PackingError(
            f"None of the {len(inputs)} rows that were held out is a request that {model.name} "
            f"takes, so there is nothing to verify a server with. Widen the bounds of its Request, "
            f"or look at its split."
        )
    spread = np.linspace(0, len(valid) - 1, min(GOLDEN_ROWS, len(valid))).round().astype(int)
    chosen = [valid[index] for index in spread]
    for index, request in enumerate(chosen):
        if index % 3 == 2:
            chosen[index] = {name: request[name] for name in required}
    rows = pd.DataFrame(
        [
            {
                name: row.get(name, "" if inputs[name].dtype == object else math.nan)
                for name in inputs.columns
            }
            for row in chosen
        ]
    )
    answers = estimator.predict(rows)
    return Golden(
        chosen, [{k: float(v) for k, v in row.items()} for row in answers.to_dict("records")]
    )


def profile(model: Model, estimator: Any, frame: pd.DataFrame, inputs: list[str]) -> dict[str, Any]:
    """Return the distribution of every feature and prediction, and the model's page."""
    answers = estimator.predict(frame[inputs])
    target = frame.select_dtypes("number").drop(columns=inputs, errors="ignore")
    return {
        "rows": len(frame),
        "features": {name: distribution(frame[name]) for name in inputs},
        "target": {name: distribution(target[name]) for name in target.columns},
        "prediction": {name: distribution(answers[name]) for name in answers.columns},
        "page": _page(model, frame),
    }


def _page(model: Model, frame: pd.DataFrame) -> dict[str, Any]:
    try:
        return model.page(frame).document(model.Request, model.Answer)
    except ValueError as error:
        raise PackingError(f"The page of {model.name} cannot be packed: {error}.") from error


def distribution(values: pd.Series) -> dict[str, Any]:
    """Return a histogram and moments of numbers, or the share of each word.

    ``edges`` has one figure more than ``counts``; they cover the whole range of the values. Where
    no value is known there are neither.
    """
    if values.dtype == object:
        shares = values.value_counts(normalize=True).sort_index()
        return {
            "kind": "words",
            "shares": {str(word): float(share) for word, share in shares.items()},
        }
    numbers = values.to_numpy(dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return {"kind": "numbers", "missing": len(numbers), "edges": [], "counts": []}
    counts, edges = np.histogram(known, bins=_BINS)
    return {
        "kind": "numbers",
        "missing": int(len(numbers) - len(known)),
        "mean": float(known.mean()),
        "deviation": float(known.std()),
        "quantiles": [
            float(value) for value in np.quantile(known, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        ],
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
    }


def card(manifest: Manifest, evaluation: Evaluation, trained: int, held_out: int) -> str:
    """Return the model card in Markdown."""
    lines = [
        f"# {manifest.model}: {manifest.candidate}",
        "",
        f"Trained on {trained} rows, examined on {held_out} that it never saw.",
        "",
        f"- commit `{manifest.commit}`",
        f"- data `{manifest.data_hash}`",
        *(f"- {name} = {value}" for name, value in sorted(manifest.parameters.items())),
        "",
        "## Metrics",
        "",
        "| metric | value |",
        "| --- | ---: |",
        *(f"| {name} | {value:.4f} |" for name, value in sorted(manifest.metrics.items())),
        "",
        "## By slice",
        "",
        *_slices(evaluation.slices),
        "",
        "## Behaviour",
        "",
        "| check | found | demanded | passed |",
        "| --- | ---: | --- | --- |",
        *(
            f"| {check.name}: {check.description} | {check.value:.4g} {check.unit} "
            f"| {check.comparison} {check.limit:g} | {'yes' if check.passed else 'no'} |"
            for check in evaluation.checks
        ),
        "",
        "## Request",
        "",
        "| field | unit | bounds | needed |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {field.get('unit', '')} | {_bounds(field)} "
            f"| {'yes' if name in manifest.request['required'] else 'no'} |"
            for name, field in manifest.request["properties"].items()
        ),
        "",
        *(f"![{name}](figures/{name}.png)" for name in sorted(evaluation.figures)),
        "",
    ]
    return "\n".join(lines)


def _slices(slices: dict[str, dict[str, float]]) -> list[str]:
    if not slices:
        return ["There are none."]
    metrics = sorted(next(iter(slices.values())))
    return [
        f"| slice | {' | '.join(metrics)} |",
        f"| --- |{' ---: |' * len(metrics)}",
        *(
            f"| {name} | {' | '.join(f'{values[metric]:.4g}' for metric in metrics)} |"
            for name, values in sorted(slices.items())
        ),
    ]


def _bounds(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(field["enum"])
    ends = (("from", field.get("minimum")), ("to", field.get("maximum")))
    return " ".join(f"{word} {end:g}" for word, end in ends if end is not None)


def _request(
    row: Mapping[Any, Any], properties: dict[str, Any], request_type: type[BaseModel]
) -> dict[str, Any] | None:
    """Return a row as a request, or None when it breaks the request's bounds."""
    request: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, str):
            if value:
                request[name] = value
        elif not math.isnan(value):
            whole = properties[name].get("type") == "integer" and float(value).is_integer()
            request[name] = int(value) if whole else float(value)
    try:
        request_type.model_validate(request)
    except ValidationError:
        return None
    return request


def serialize(estimator: Any) -> bytes:
    """Return the bytes of a fitted estimator, the same for equal estimators.

    It is dumped, loaded and dumped again: which equal strings were one object while it was fitted
    would otherwise show in the bytes.
    """
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    settled = joblib.load(io.BytesIO(buffer.getvalue()))
    again = io.BytesIO()
    joblib.dump(settled, again)
    return again.getvalue()


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
