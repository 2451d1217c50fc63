"""Component: make a version of a bundle that passed the gate."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    run: str,
    job: str,
    model: str,
    bundle: dsl.Input[dsl.Model],
    trained: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    recipe: str,
    commit: str,
    data_hash: str,
    trigger: str,
    strategy: str = "canary",
) -> int:
    """Return the number of the version, which is now the challenger."""
    import json
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.register import register as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "register") as record:
        tags = {"commit": commit, "data_hash": data_hash, "trigger": trigger, "pipeline_run": run}
        facts = {"recipe": recipe, "verdict": json.loads(Path(verdict.path).read_text())}
        paths = {"packed": Path(bundle.path), "trained": Path(trained.path)}
        made = call(Settings(), model, tags=tags, strategy=strategy, **facts, **paths)
        record.summary, record.details = f"version {made.number}", {"version": made.number}
    return made.number
