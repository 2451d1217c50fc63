"""Component: decide whether the candidate may be deployed."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    model: str,
    bundle: dsl.Input[dsl.Model],
    test: dsl.Input[dsl.Dataset],
    champion: int,
    verdict: dsl.Output[dsl.Artifact],
    checks: dsl.Output[dsl.Markdown],
) -> bool:
    """Write the verdict, also as a table of its checks; return whether the candidate passed."""
    import json
    from pathlib import Path

    from roadworthy.steps.gate import gate as call
    from roadworthy.steps.task import task

    with task("gate", bundle.metadata) as step:
        packed, rows = Path(bundle.path), Path(test.path)
        done = call(step.settings, model, packed=packed, test=rows, champion=champion)
        step.done(done)
    Path(verdict.path).write_text(json.dumps(done.to_dict()))
    Path(checks.path).write_text(done.to_markdown())
    verdict.metadata.update(passed=done.passed, champion=champion)
    return done.passed
