"""Component: shift traffic to a staged version and analyse it; roll it back if it fails."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def canary(model: str, bundle: dsl.Input[dsl.Model], version: int) -> bool:
    """Return whether the version passed every stage."""
    from pathlib import Path

    from roadworthy.steps.canary import canary as call
    from roadworthy.steps.roll_back import roll_back
    from roadworthy.steps.task import task

    with task("canary") as step:
        found = call(
            step.settings, packed=Path(bundle.path), version=version, owner=step.run, tell=step.tell
        )
        step.done(found, good=found.good)
    if not found.good:
        with task("roll-back") as step:
            why = {"problem": found.problem, "owner": step.run}
            roll_back(step.settings, model, version=version, **why)
            step.record.summary = f"version {version}: {found.problem}"
    return found.good
