"""Measure the detectors of the model `outliers`: how well, and how quickly, they find.

    python benchmarks/outliers.py --series DIR    how well, on series of your own
    python benchmarks/outliers.py                 how quickly, one core, beside PyOD and STUMPY

DIR holds CSV files at any depth, as the model reads them. Outliers are labelled in a column
``label``, or in ``DIR/windows.json``, which maps the end of a file's path to pairs of first and
last time, as that of the Numenta Anomaly Benchmark does.

No detector sees what comes later: it learns from the first 15 % of a series, which get the score 0,
and again after every 200 values from all before them. Which detector and which settings are used
for a series is decided by the mean VUS-PR on the other series (leave one out).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from roadworthy.bundles.scoring import Scorer
from roadworthy.models import outliers
from roadworthy.models.outliers import table
from roadworthy.models.outliers.detectors import Detector, Forecast, Global, Robust
from roadworthy.models.outliers.metrics import vus_pr

Floats = npt.NDArray[np.float64]

FIRST = 0.15
EVERY = 200
POINTS = 1_000_000
COUNTS = (5_000, 10_000, 20_000, 40_000)
REPEATS = 5
SAMPLE = Path(__file__).parents[1] / outliers.data.removesuffix(".dvc")


class Series(NamedTuple):
    """A labelled series."""

    values: Floats
    truth: npt.NDArray[np.bool_]
    day: int
    """How many values a day has."""


def settings(day: int) -> dict[str, Detector]:
    """Return what is tried, by name, for a series with so many values a day."""
    tried: dict[str, Detector] = {"global": Global(), "robust": Robust(window=day, period=day)}
    return tried | {
        f"forecast {lags}/{energy}": Forecast(lags, energy)
        for lags in (16, 32, 48)
        for energy in (4, 64, 96)
    }


def read(directory: Path) -> dict[str, Series]:
    """Return the labelled series of a directory by the name of their file."""
    windows_file = directory / "windows.json"
    windows = json.loads(windows_file.read_text()) if windows_file.is_file() else {}
    found = {}
    for path in sorted(directory.rglob("*.csv")):
        rows = table.read(path).dropna(subset="value").sort_values("time_s", kind="stable")
        truth = (rows["label"] != "").to_numpy()
        for name, pairs in windows.items():
            if path.as_posix().endswith(f"/{name}"):
                for pair in pairs:
                    first, last = (pd.Timestamp(at, tz="UTC").timestamp() for at in pair)
                    truth |= rows["time_s"].between(first, last).to_numpy()
        if truth.any():
            day = round(86400 / float(rows["time_s"].diff().median()))
            found[path.stem] = Series(rows["value"].to_numpy(np.float64), truth, max(day, 1))
    return found


def walk(detector: Detector, values: Floats) -> Floats:
    """Return the score of each value by a detector that learnt from values before it, [n]."""
    scores = np.zeros(len(values))
    for start in range(int(FIRST * len(values)), len(values), EVERY):
        learnt = clone(detector).learn([values[:start]])
        begin = max(start - learnt.memory + 1, 0)
        found = learnt.deviations(values[begin : start + EVERY])
        scores[start : start + EVERY] = found[start - begin :]
    return scores


def left_out(found: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[str, float]]:
    """Return for each series the setting that is best on the others, and its value there."""
    chosen = {}
    for name in found:
        others = [values for other, values in found.items() if other != name] or [found[name]]
        best = max(found[name], key=lambda one: float(np.mean([of[one] for of in others])))
        chosen[name] = best, found[name][best]
    return chosen


def quality(directory: Path) -> str:
    """Return the table of VUS-PR as Markdown."""
    found = {}
    for name, series in read(directory).items():
        found[name] = {
            setting: vus_pr(series.truth, walk(detector, series.values))
            for setting, detector in settings(series.day).items()
        }
    if not found:
        raise SystemExit(f"{directory} has no CSV file with labelled outliers.")
    chosen = left_out(found)
    names = list(settings(1))
    mean = [float(np.mean([values[one] for values in found.values()])) for one in names]
    loo = float(np.mean([value for _, value in chosen.values()]))
    rows = [
        ["series", *names, "leave one out", "chosen"],
        ["---", *["---:"] * (len(names) + 1), "---"],
        *(
            [
                name,
                *(f"{values[one]:.2f}" for one in names),
                f"{chosen[name][1]:.2f}",
                chosen[name][0],
            ]
            for name, values in found.items()
        ),
        ["**mean**", *(f"{value:.3f}" for value in mean), f"**{loo:.3f}**", ""],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def speed() -> str:
    """Return how long the graph of the strongest detector and its peers take, as Markdown."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    frame = outliers.prepare(outliers.schema.validate(outliers.dataset.read(SAMPLE))).frame
    detector = outliers.train(outliers.candidates[-1], frame)
    scorer = Scorer(outliers.export(detector).SerializeToString(), threads=1)
    values = np.random.default_rng(0).normal(20, 3, POINTS)
    own = [_seconds(scorer, values[:count]) for count in (*COUNTS, POINTS)]
    found = {"forecast, ONNX": own[:-1]} | _peers(values[: COUNTS[-1]])
    lines = [
        f"The champion's graph judges {POINTS:,} values in {own[-1]:.2f} s on one core; the bar "
        "is 1 s.",
        "",
        "The slope is that of the logarithms: 1 is linear, 2 quadratic. The peers fit and judge "
        "the whole series by windows of 64 values; the graph was fitted before.",
        "",
        f"| detector | {' | '.join(f'{count:,} values, s' for count in COUNTS)} | slope |",
        f"| --- |{' ---: |' * (len(COUNTS) + 1)}",
    ]
    for name, taken in found.items():
        slope = np.polyfit(np.log(COUNTS), np.log(taken), 1)[0]
        lines.append(f"| {name} | {' | '.join(f'{one:.4f}' for one in taken)} | {slope:.1f} |")
    return "\n".join(lines)


def _seconds(scorer: Scorer, values: Floats) -> float:
    """Return the median time of a graph's answer."""
    request: dict[str, Any] = {
        "values": values[None],
        "timestamps": np.empty((1, 0)),
        "step_s": np.array([float(table.STEP_S)]),
    }
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        scorer.score(request)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def _peers(values: Floats) -> dict[str, list[float]]:
    """Return the times of PyOD and STUMPY, in an environment from their own lock file."""
    peers = Path(__file__).with_name("peers")
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        home, series = Path(scratch, "environment"), Path(scratch, "series.npy")
        python = home / "bin" / "python"
        np.save(series, values)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes"]
        subprocess.run([*install, "--requirement", peers / "detectors.txt"], check=True)
        one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA", "OPENBLAS")}
        told = subprocess.check_output(
            [python, peers / "detectors.py", series, *map(str, COUNTS)],
            env={**os.environ, **one},
            text=True,
        )
    found: dict[str, list[float]] = json.loads(told)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=Path, help="a directory of labelled series")
    asked = parser.parse_args()
    print(quality(asked.series) if asked.series else speed())
