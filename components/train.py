"""Component: cross-validate every candidate and train the one that is chosen."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    run: str,
    model: str,
    rows: dsl.Input[dsl.Dataset],
    recipe: str,
    commit: str,
    data_hash: str,
    trigger: str,
    trained: dsl.Output[dsl.Model],
) -> str:
    """Write the fitted estimator; return the MLflow run of the chosen candidate."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.records import step
    from roadworthy.settings import Settings
    from roadworthy.steps.train import train as call

    with step(Settings().records, run, "train") as record:
        tags = {"commit": commit, "data_hash": data_hash, "trigger": trigger, "pipeline_run": run}
        target = Path(trained.path)
        done = call(Settings(), model, Path(rows.path), recipe=recipe, tags=tags, target=target)
        record.summary, record.details = str(done), asdict(done)
    return done.run_id
