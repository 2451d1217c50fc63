"""Say which values of a series are outliers, when, and by how much: ``detect.py SERIES BUNDLE``.

It runs in the image of a version, which has the packages of the model server and no others.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import numpy as np

from roadworthy.bundles.scoring import Scorer


def report(series: Path, bundle: Path) -> Iterator[str]:
    """Yield a sentence for each run of outliers, and one that sums up."""
    times, values = np.loadtxt(series, delimiter=",", skiprows=1).T
    step = np.array([times[1] - times[0]])
    request = {"values": values[None], "timestamps": times[None], "step_s": step}
    answered = Scorer((bundle / "model.onnx").read_bytes()).score(request)
    outlier, score, bound, judged = (
        answered[name][0] for name in ("outlier", "score", "bound", "judged")
    )
    candidate = json.loads((bundle / "manifest.json").read_text())["candidate"]
    yield f"Detector {candidate}: {judged.sum()} of {len(values)} values are judged."
    runs = (list(run) for found, run in groupby(range(len(values)), outlier.__getitem__) if found)
    count = 0
    for count, places in enumerate(runs, 1):
        worst = max(places, key=score.__getitem__)
        lasted = f", {len(places)} values from {_when(times[places[0]])}" if places[1:] else ""
        yield (
            f"Outlier {count}: {values[worst]:.1f} °C at {_when(times[worst])} UTC, score "
            f"{score[worst]:.1f}, {score[worst] / bound[worst]:.1f} times the bound{lasted}."
        )
    if count:
        yield f"{count} outliers were detected."
    else:
        yield (
            f"No outlier was detected: the highest score is {score.max():.1f}, and the bound is "
            f"{bound[0]:.1f}."
        )


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    for sentence in report(Path(sys.argv[1]), Path(sys.argv[2])):
        sys.stdout.write(f"{sentence}\n")
