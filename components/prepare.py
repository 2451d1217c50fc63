"""Component: validate and clean the raw data of a commit, and hold rows out."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    model: str, source: dict, train: dsl.Output[dsl.Dataset], test: dsl.Output[dsl.Dataset]
) -> None:
    """Write the rows to train on and the hold-out."""
    from pathlib import Path

    from roadworthy.steps.prepare import prepare as call
    from roadworthy.steps.task import task

    with task("prepare") as step:
        files = {"train": Path(train.path), "test": Path(test.path)}
        counts = call(step.settings, model, source["commit"], **files)
        step.done(counts)
    train.metadata.update(source, run=step.run, rows=counts.train)
    test.metadata.update(source, run=step.run, rows=counts.test)
