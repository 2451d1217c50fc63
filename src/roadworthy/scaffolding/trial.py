"""Tries a package that is not in its place yet: trains it and makes its bundle.

``python -m roadworthy.scaffolding.trial MODELS NAME CSV TARGET``: the directory of the package, its
name, the raw data and a directory for the bundle. It prints as JSON what the chosen candidate
reached by cross-validation. It is a program of its own, so that nothing of the trial stays in the
process that asked for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import roadworthy.models
from roadworthy.bundles.packing import pack
from roadworthy.data.validation import validate
from roadworthy.models import contract
from roadworthy.scaffolding.table import TableError
from roadworthy.training.fitting import fit

_NOWHERE = "0" * 40
_FEWEST_ROWS = 5


def try_out(models: Path, name: str, data: Path, target: Path) -> dict[str, float | str]:
    """Return the metrics by which the bars are set, after going the way to a bundle.

    Raises
    ------
    TableError
        Too few rows are trained on or held out.
    """
    roadworthy.models.__path__.append(str(models))
    model = contract.load(name)
    train, test = model.split(model.prepare(validate(model.dataset.read(data), model.schema)).frame)
    if min(len(train), len(test)) < _FEWEST_ROWS:
        raise TableError(
            f"{len(train)} rows are to be trained on and {len(test)} held out, too few to say "
            f"anything: collect rows that differ more"
        )
    fitted = fit(model, train)
    pack(
        target,
        model=model,
        estimator=fitted.estimator,
        evaluation=model.evaluate(fitted.estimator, test),
        train=train,
        test=test,
        candidate=fitted.candidate.name,
        parameters=dict(fitted.candidate.parameters),
        metrics=fitted.metrics,
        commit=_NOWHERE,
        data_hash=_NOWHERE,
    )
    names = ("r2", "r2_deviation", "mae", "mae_deviation")
    reached = {metric: fitted.metrics[f"cv_{metric}"] for metric in names}
    return {"candidate": fitted.candidate.name, **reached}


if __name__ == "__main__":
    found = try_out(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    sys.stdout.write(json.dumps(found))
