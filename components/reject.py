"""Component: note why a candidate is not deployed."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def reject(
    run: str,
    job: str,
    model: str,
    trained: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    recipe: str,
    commit: str,
    data_hash: str,
    trigger: str,
) -> None:
    """Put candidates and verdict into the registry."""
    import json
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.reject import reject as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "reject") as record:
        tags = {"commit": commit, "data_hash": data_hash, "trigger": trigger, "pipeline_run": run}
        facts = {"recipe": recipe, "verdict": json.loads(Path(verdict.path).read_text())}
        call(Settings(), model, trained=Path(trained.path), tags=tags, **facts)
        record.summary = "the champion stays"
