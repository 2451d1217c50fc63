"""Component: cross-validate the candidates and train the one that is chosen."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    model: str,
    candidate: str,
    rows: dsl.Input[dsl.Dataset],
    trained: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Write the fitted estimator and what is known of every candidate."""
    from pathlib import Path

    from roadworthy.steps.task import task
    from roadworthy.steps.train import train as call

    with task("train", rows.metadata) as step:
        done = call(model, Path(rows.path), target=Path(trained.path), candidate=candidate)
        step.done(done)
    trained.metadata.update(run=step.run, candidate=done.candidate)
    metrics.metadata.update(done.metrics)
