"""Component: clean the raw data and hold rows out."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    run: str,
    job: str,
    model: str,
    validated: dsl.Input[dsl.Dataset],
    train: dsl.Output[dsl.Dataset],
    test: dsl.Output[dsl.Dataset],
) -> None:
    """Write the rows to train on and the hold-out."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.prepare import prepare as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "prepare") as record:
        counts = call(model, Path(validated.path), train=Path(train.path), test=Path(test.path))
        record.summary, record.details = str(counts), asdict(counts)
