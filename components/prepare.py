"""Component: validate and clean the raw data, and hold rows out."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    run: str,
    job: str,
    model: str,
    raw: dsl.Input[dsl.Dataset],
    train: dsl.Output[dsl.Dataset],
    test: dsl.Output[dsl.Dataset],
) -> None:
    """Write the rows to train on and the hold-out."""
    from dataclasses import asdict
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.prepare import prepare as call
    from roadworthy.tracking.records import step

    with step(Settings().records, run or job, "prepare") as record:
        counts = call(model, Path(raw.path), train=Path(train.path), test=Path(test.path))
        record.summary, record.details = str(counts), asdict(counts)
    train.metadata["rows"], test.metadata["rows"] = counts.train, counts.test
