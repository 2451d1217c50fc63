"""Component: load a version at the model server, at weight 0."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def stage(bundle: dsl.Input[dsl.Model], version: int) -> None:
    """Load the version; it answers requests that name it."""
    from pathlib import Path

    from roadworthy.steps.stage import stage as call
    from roadworthy.steps.task import task

    with task("stage") as step:
        url = call(step.settings, packed=Path(bundle.path), version=version, owner=step.run)
        step.record.summary = f"version {version} answers at {url}"
