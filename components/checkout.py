"""Component: fetch a commit's data and find whether there is anything new."""

from typing import NamedTuple

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def checkout(
    run: str, job: str, model: str, commit: str, force: bool, raw: dsl.Output[dsl.Dataset]
) -> NamedTuple(
    "Source",
    [("commit", str), ("data_hash", str), ("recipe", str), ("champion", int), ("Output", bool)],
):
    """Write the raw data; return what the run is made of."""
    from dataclasses import asdict, astuple
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.checkout import checkout as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "checkout") as record:
        source = call(Settings(), model, commit=commit, force=force, raw=Path(raw.path))
        record.summary, record.details = str(source), asdict(source)
    return astuple(source)
