"""Component: load a version at the model server, at weight 0."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def stage(run: str, job: str, bundle: dsl.Input[dsl.Model], version: int) -> int:
    """Return the version when it answers requests that name it."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.stage import stage as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "stage") as record:
        url = call(Settings(), packed=Path(bundle.path), version=version, owner=run)
        record.summary = f"version {version} answers at {url}"
    return version
