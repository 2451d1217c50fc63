"""Makes the bundle of a commit's data again, with nothing but that commit's code.

``python -m roadworthy.training.rebuild MODEL RAW TARGET COMMIT DATA_HASH`` prints the digest of the
bundle. ``ROADWORTHY_CANDIDATE`` names the candidate; without it, the best one is chosen.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from roadworthy.bundles.bundle import Bundle
from roadworthy.bundles.packing import pack
from roadworthy.data.validation import read, validate
from roadworthy.models import contract
from roadworthy.training.fitting import fit
from roadworthy.training.selection import named


def rebuild(
    model: str, raw: Path, target: Path, *, commit: str, data_hash: str, candidate: str = ""
) -> Bundle:
    """Write the bundle that the pipeline makes of raw data, and return it."""
    chosen = contract.load(model)
    frame, _ = chosen.prepare(validate(read(chosen, raw), chosen.schema))
    halves = chosen.split(frame)
    tried = [named(chosen.candidates, candidate)] if candidate else chosen.candidates
    fitted = fit(chosen, halves.train, candidates=tried)
    return pack(
        target,
        model=chosen,
        estimator=fitted.estimator,
        evaluation=chosen.evaluate(fitted.estimator, halves.test),
        train=halves.train,
        test=halves.test,
        candidate=fitted.candidate.name,
        parameters=dict(fitted.candidate.parameters),
        metrics=fitted.metrics,
        commit=commit,
        data_hash=data_hash,
    )


def main() -> None:
    """Run the command line."""
    model, raw, target, commit, data_hash = sys.argv[1:]
    # A variable, not an argument: the code of older commits takes no more arguments.
    candidate = os.environ.get("ROADWORTHY_CANDIDATE", "")
    made = rebuild(
        *(model, Path(raw), Path(target)), commit=commit, data_hash=data_hash, candidate=candidate
    )
    sys.stdout.write(f"{made.digest}\n")


if __name__ == "__main__":
    main()
