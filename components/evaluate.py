"""Component: evaluate the estimator on the hold-out and make its bundle."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    model: str,
    source: dict,
    trained: dsl.Input[dsl.Model],
    train: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    bundle: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    classes: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Write the bundle, its metrics, and the confusion matrix where it answers with classes."""
    from pathlib import Path

    from roadworthy.steps.evaluate import evaluate as call
    from roadworthy.steps.task import task

    paths = {"trained": trained, "train": train, "test": test, "target": bundle}
    files = {name: Path(artifact.path) for name, artifact in paths.items()}
    facts = {"commit": source["commit"], "data_hash": source["data_hash"]}
    with task("evaluate", trained.metadata, train.metadata) as step:
        done = call(model, **facts, **files)
        step.done(done, figures=done.figures)
    bundle.metadata.update(facts, run=step.run, digest=done.digest)
    metrics.metadata.update(done.evaluation.metrics)
    if done.confusion:
        classes.log_confusion_matrix(done.confusion.classes, done.confusion.counts)
