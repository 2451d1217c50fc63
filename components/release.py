"""Component: release a bundle that passed the gate."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def release(
    model: str,
    source: dict,
    bundle: dsl.Input[dsl.Model],
    trained: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    trigger: str,
    strategy: str,
) -> int:
    """Return the number of the version, which is now the challenger."""
    import json
    from pathlib import Path

    from roadworthy.steps.recording import Attempt
    from roadworthy.steps.release import release as call
    from roadworthy.steps.task import task

    with task("release") as step:
        said = json.loads(Path(verdict.path).read_text())
        attempt = Attempt(model, Path(trained.path), said, source, trigger, step.run)
        done = call(step.settings, attempt, packed=Path(bundle.path), strategy=strategy)
        step.done(done)
    return done.version
