"""Component: take a version that failed its verification off the road."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def roll_back(run: str, job: str, model: str, version: int, problem: str) -> None:
    """Leave the champion alone on the road."""
    from roadworthy.core.settings import Settings
    from roadworthy.steps.roll_back import roll_back as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "roll-back") as record:
        call(Settings(), model, version=version, problem=problem, owner=run)
        record.summary = f"version {version}: {problem}"
