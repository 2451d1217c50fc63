"""Component: shift traffic to a staged version and analyse it; roll it back if it fails."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def canary(run: str, job: str, model: str, bundle: dsl.Input[dsl.Model], version: int) -> bool:
    """Return whether the version passed every stage."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.canary import canary as call
    from roadworthy.steps.roll_back import roll_back
    from roadworthy.tracking.records import step

    run, settings = run or job, Settings()
    with step(settings.records, run, "canary") as record:
        found = call(settings, packed=Path(bundle.path), version=version, owner=run)
        record.summary, record.details = str(found), asdict(found) | {"good": found.good}
    if not found.good:
        with step(settings.records, run, "roll-back") as record:
            roll_back(settings, model, version=version, problem=found.problem, owner=run)
            record.summary = f"version {version}: {found.problem}"
    return found.good
