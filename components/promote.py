"""Component: make a verified version the champion."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def promote(run: str, job: str, model: str, version: int) -> None:
    """Make the version answer everybody."""
    from roadworthy.core.settings import Settings
    from roadworthy.steps.promote import promote as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "promote") as record:
        call(Settings(), model, version=version, owner=run)
        record.summary = f"version {version} is the champion"
