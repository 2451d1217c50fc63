"""Time detectors of PyOD and STUMPY, on one core: ``python detectors.py SERIES.npy COUNT...``.

It prints, as JSON, the seconds of each detector for the first values of the series. All judge the
whole series at once, by windows of 64 values.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import stumpy
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.pca import PCA

WINDOW = 64


def by_windows(detector: type) -> Callable[[np.ndarray], None]:
    """Return what fits a detector of PyOD to all windows of a series."""

    def judge(values: np.ndarray) -> None:
        detector().fit(np.lib.stride_tricks.sliding_window_view(values, WINDOW))

    return judge


DETECTORS: dict[str, Callable[[np.ndarray], object]] = {
    "PyOD PCA": by_windows(PCA),
    "PyOD HBOS": by_windows(HBOS),
    "PyOD IForest": by_windows(IForest),
    "STUMPY matrix profile": lambda values: stumpy.stump(values, WINDOW),
}

series = np.load(sys.argv[1])
found = {}
for name, judge in DETECTORS.items():
    judge(series[:1000])  # what is compiled, is compiled now
    taken = []
    for count in map(int, sys.argv[2:]):
        started = time.perf_counter()
        judge(series[:count])
        taken.append(time.perf_counter() - started)
    found[name] = taken
sys.stdout.write(json.dumps(found))
