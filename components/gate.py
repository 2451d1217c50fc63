"""Component: decide whether the candidate may be deployed."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    run: str,
    job: str,
    model: str,
    bundle: dsl.Input[dsl.Model],
    test: dsl.Input[dsl.Dataset],
    champion: int,
    verdict: dsl.Output[dsl.Artifact],
) -> bool:
    """Write the verdict; return whether the candidate passed."""
    import json
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.gate import gate as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "gate") as record:
        packed, rows = Path(bundle.path), Path(test.path)
        done = call(Settings(), model, packed=packed, test=rows, champion=champion)
        record.summary, record.details = str(done), done.to_dict()
        Path(verdict.path).write_text(json.dumps(done.to_dict()))
    return done.passed
