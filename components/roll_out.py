"""Component: stage a version at the model server."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def roll_out(run: str, job: str, bundle: dsl.Input[dsl.Model], version: int, tag: str) -> int:
    """Return the version when it answers those who ask for it."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.roll_out import roll_out as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "roll-out") as record:
        url = call(Settings(), packed=Path(bundle.path), version=version, owner=run)
        record.summary = f"{tag} answers at {url}"
    return version
