"""Component: note why a candidate does not go on the road."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def reject(run: str, mlflow_run: str, verdict: dsl.Input[dsl.Artifact]) -> None:
    """Put the verdict into the registry."""
    import json
    from pathlib import Path

    from roadworthy.records import step
    from roadworthy.settings import Settings
    from roadworthy.steps.reject import reject as call

    with step(Settings().records, run, "reject") as record:
        told = json.loads(Path(verdict.path).read_text())
        call(Settings(), run_id=mlflow_run, verdict=told)
        record.summary = "the champion stays"
