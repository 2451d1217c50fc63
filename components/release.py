"""Component: release a bundle that passed the gate."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def release(
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
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.release import release as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "release") as record:
        tags = {"commit": commit, "data_hash": data_hash, "trigger": trigger, "pipeline_run": run}
        facts = {"recipe": recipe, "verdict": json.loads(Path(verdict.path).read_text())}
        paths = {"packed": Path(bundle.path), "trained": Path(trained.path)}
        done = call(Settings(), model, tags=tags, strategy=strategy, **facts, **paths)
        record.summary, record.details = str(done), asdict(done)
    return done.version
