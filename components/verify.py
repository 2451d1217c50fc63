"""Component: verify a staged version with the golden batch and with live traffic."""

from typing import NamedTuple

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def verify(run: str, job: str, bundle: dsl.Input[dsl.Model], version: int) -> NamedTuple(
    "Verification", [("Output", bool), ("problem", str)]
):
    """Return whether the version may go on, and what is wrong if not."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.verify import verify as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "verify") as record:
        found = call(Settings(), packed=Path(bundle.path), version=version, owner=run)
        record.summary, record.details = str(found), asdict(found) | {"good": found.good}
    return found.good, found.problem
