"""Component: make a verified version the champion."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def promote(model: str, version: int) -> None:
    """Send all traffic to the version."""
    from roadworthy.steps.promote import promote as call
    from roadworthy.steps.task import task

    with task("promote") as step:
        call(step.settings, model, version=version, owner=step.run)
        step.record.summary = f"version {version} is the champion"
