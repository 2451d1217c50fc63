"""Component: examine the estimator on the hold-out and make its bundle."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    run: str,
    job: str,
    model: str,
    trained: dsl.Input[dsl.Model],
    train: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    commit: str,
    data_hash: str,
    bundle: dsl.Output[dsl.Model],
) -> None:
    """Write the bundle, and its figures for the report."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.evaluate import evaluate as call
    from roadworthy.tracking.records import attach, step

    paths = {"trained": trained, "train": train, "test": test, "target": bundle}
    files = {name: Path(artifact.path) for name, artifact in paths.items()}
    run = run or job
    with step(Settings().records, run, "evaluate") as record:
        done = call(model, commit=commit, data_hash=data_hash, **files)
        record.summary, record.details = str(done), done.to_dict()
        attach(Settings().records, run, done.figures)
