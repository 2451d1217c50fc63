"""Make the bundle of a trained model: everything in it but the manifest's hashes."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib.numpy_pickle import NumpyPickler
from pydantic import ValidationError

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle, Golden, Manifest
from roadworthy.bundles.scoring import Scorer, from_frame, to_frame
from roadworthy.core.errors import RoadworthyError
from roadworthy.models import tensors
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
    "skl2onnx",
)
"""The packages whose versions decide what training gives."""
GOLDEN_ROWS = 20
_BINS = 20
_MOST_LABELS = 100


class PackingError(RoadworthyError):
    """No bundle can be made of what was trained."""


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

    Raises
    ------
    PackingError
        A route refers to something that does not exist, or there is no golden batch.
    """
    graph = model.export(estimator).SerializeToString(deterministic=True)
    inputs = list(Scorer(graph).inputs)
    _check_routes(model)
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
        tolerance={name: asdict(limits) for name, limits in model.tolerance.items()},
        task=model.task,
        title=model.title,
        routes=tuple(model.routes),
    )
    batch = golden(model, estimator, test[inputs])
    described = profile(model, estimator, pd.concat([train, test], ignore_index=True), inputs)
    shown = {"note": evaluation.note, "record": list(evaluation.record)}
    described["page"] |= {name: value for name, value in shown.items() if value}
    files = {
        bundle.MODEL: graph,
        bundle.ESTIMATOR: serialize(estimator),
        bundle.GOLDEN: bundle.encode({"requests": batch.requests, "answers": batch.answers}),
        bundle.PROFILE: bundle.encode(described),
        bundle.CARD: card(manifest, evaluation, len(train), len(test)).encode(),
        **{f"{bundle.FIGURES}/{name}.png": png for name, png in evaluation.figures.items()},
    }
    return bundle.write(target, manifest, files)


def _check_routes(model: Model) -> None:
    for route in model.routes:
        try:
            route.check(model.Request.model_fields, model.Answer.model_fields)
        except ValueError as error:
            raise PackingError(f"{error} Correct the routes of {model.name}.") from error


def golden(model: Model, estimator: Any, inputs: pd.DataFrame) -> Golden:
    """Return some twenty requests within the request's bounds, with the estimator's answers.

    They are spread evenly over the hold-out, and every third has only the required fields.

    Raises
    ------
    PackingError
        No row of the hold-out is a request that the model takes.
    """
    fields = tensors.parse(model.Request.model_json_schema())
    required = {name: fields[name] for name in fields if fields[name].required}
    requests = tensors.records(from_frame(inputs, fields), fields)
    valid = [row for row, request in enumerate(requests) if _is_valid(model, request)]
    if not valid:
        raise PackingError(
            f"None of the {len(inputs)} rows of the hold-out is a valid request of {model.name}, "
            f"so there is nothing to verify a server with. Widen the bounds of its Request, or "
            f"check its split."
        )
    spread = np.linspace(0, len(valid) - 1, min(GOLDEN_ROWS, len(valid))).round().astype(int)
    chosen = [valid[index] for index in spread]
    golden = [requests[row] for row in chosen]
    for index in range(2, len(golden), 3):
        least = {name: value for name, value in golden[index].items() if name in required}
        golden[index] = least if _is_valid(model, least) else golden[index]
    rows = to_frame(tensors.columns(fields, golden))
    answers = estimator.predict(rows[list(inputs.columns)])
    return Golden(golden, tensors.records(from_frame(answers, answers.columns)))


def profile(model: Model, estimator: Any, frame: pd.DataFrame, inputs: list[str]) -> dict[str, Any]:
    """Return the distribution of every feature and prediction, and the model's page."""
    answers = estimator.predict(frame[inputs])
    targets = [name for name in frame.columns if name not in inputs and _is_target(frame[name])]
    return {
        "rows": len(frame),
        "features": {name: distribution(frame[name]) for name in inputs},
        "target": {name: distribution(frame[name]) for name in targets},
        "prediction": {name: distribution(answers[name]) for name in answers.columns},
        "page": _page(model, frame),
    }


def _page(model: Model, frame: pd.DataFrame) -> dict[str, Any]:
    try:
        return model.page(frame).document(model.Request, model.Answer)
    except ValueError as error:
        raise PackingError(f"The page of {model.name} cannot be packed: {error}.") from error


def distribution(values: pd.Series) -> dict[str, Any]:
    """Return how values are distributed, by their ``kind``.

    ``numbers`` have a histogram and moments: ``edges`` has one number more than ``counts``, and
    they cover the whole range of the values; where no value is known there are neither. ``labels``
    (strings and booleans) have the share of each. ``lists`` have the distribution of all their
    elements, and that of their ``lengths``; ``images`` that of their mean brightness.
    """
    (column,) = from_frame(values.to_frame("column"), ["column"]).values()
    if column.ndim > 2:
        return {**_numbers(column.reshape(len(column), -1).mean(axis=1)), "kind": "images"}
    if not len(column) or not np.ndim(column[0]):
        return _labels(column) if column.dtype.kind in "Ob" else _numbers(column)
    lists = [np.asarray(one) for one in column]
    elements = np.concatenate(lists)
    found = _labels(elements) if elements.dtype.kind in "OUb" else _numbers(elements)
    return {**found, "kind": "lists", "lengths": _numbers(np.array([len(one) for one in lists]))}


def _labels(values: npt.NDArray[Any]) -> dict[str, Any]:
    named = {True: "true", False: "false"} if values.dtype == np.bool_ else {}
    labels = pd.Series([named.get(value, str(value)) for value in values.tolist()], dtype=object)
    shares = labels.value_counts(normalize=True).sort_index()
    return {
        "kind": "labels",
        "shares": {str(label): float(share) for label, share in shares.items()},
    }


def _numbers(values: npt.NDArray[Any]) -> dict[str, Any]:
    numbers = values.astype(np.float64)
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


def _is_target(values: pd.Series) -> bool:
    """Return whether a column may be what is learnt: numbers, or labels that repeat."""
    if values.dtype != object:
        return values.dtype.kind in "iufb"
    strings = values.map(lambda value: isinstance(value, str)).all()
    return bool(strings) and values.nunique() <= _MOST_LABELS


def card(manifest: Manifest, evaluation: Evaluation, trained: int, held_out: int) -> str:
    """Return the model card in Markdown."""
    lines = [
        f"# {manifest.title or manifest.model}: {manifest.candidate}",
        "",
        f"Trained on {trained} rows, evaluated on {held_out} that it never saw.",
        "",
        *([f"> {evaluation.note}", ""] if evaluation.note else []),
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
        "| check | found | required | passed |",
        "| --- | ---: | --- | --- |",
        *(
            f"| {check.name}: {check.description} | {check.value:.4g} {check.unit} "
            f"| {check.comparison} {check.limit:g} | {'yes' if check.passed else 'no'} |"
            for check in evaluation.checks
        ),
        "",
        "## Request",
        "",
        "| field | unit | bounds | required |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {field.unit} | {field.bound} | {'yes' if field.required else 'no'} |"
            for name, field in tensors.parse(manifest.request).items()
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


def _is_valid(model: Model, request: Mapping[str, Any]) -> bool:
    try:
        model.Request.model_validate(request)
    except ValidationError:
        return False
    return True


def serialize(estimator: Any) -> bytes:
    """Return the bytes of a fitted estimator, the same for equal estimators.

    It is dumped, loaded and dumped again: which equal strings were one object while it was fitted
    would otherwise show in the bytes.
    """
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    settled = joblib.load(io.BytesIO(buffer.getvalue()))
    again = io.BytesIO()
    _Pickler(again).dump(settled)
    return again.getvalue()


class _Pickler(NumpyPickler):  # type: ignore[misc]
    """Writes the same bytes for equal estimators.

    Equal strings are written as one, and records without the bytes between their fields, which
    are of no meaning in scikit-learn's trees.
    """

    def save(self, obj: Any) -> None:
        """Write one object."""
        if type(obj) is str:
            obj = sys.intern(obj)
        if type(obj) is np.ndarray and obj.dtype.names and not obj.dtype.hasobject:
            padded, obj = obj, np.zeros(obj.shape, obj.dtype)
            for name in obj.dtype.names:
                obj[name] = padded[name]
        super().save(obj)


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
