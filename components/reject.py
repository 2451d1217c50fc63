"""Component: record why a candidate is not deployed; register one that was asked for by name."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def reject(
    model: str,
    source: dict,
    bundle: dsl.Input[dsl.Model],
    trained: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    trigger: str,
) -> None:
    """Record the candidates and the verdict; register the one that was named, without a rollout."""
    import json
    from pathlib import Path

    from roadworthy.steps.recording import Attempt
    from roadworthy.steps.reject import reject as call
    from roadworthy.steps.task import task

    with task("reject") as step:
        said = json.loads(Path(verdict.path).read_text())
        attempt = Attempt(model, Path(trained.path), said, source, trigger, step.run)
        step.done(call(step.settings, attempt, packed=Path(bundle.path)))
