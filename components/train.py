"""Component: cross-validate every candidate and train the one that is chosen."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    run: str, job: str, model: str, rows: dsl.Input[dsl.Dataset], trained: dsl.Output[dsl.Model]
) -> None:
    """Write the fitted estimator and what is known of every candidate."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.train import train as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "train") as record:
        done = call(model, Path(rows.path), target=Path(trained.path))
        record.summary, record.details = str(done), asdict(done)
