"""Component: make a version of a bundle that passed the gate."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    run: str,
    model: str,
    bundle: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    mlflow_run: str,
    recipe: str,
    trigger: str,
) -> int:
    """Return the number of the version, which is now the challenger."""
    import json
    from pathlib import Path

    from roadworthy.records import step
    from roadworthy.settings import Settings
    from roadworthy.steps.register import register as call

    with step(Settings().records, run, "register") as record:
        packed, told = Path(bundle.path), json.loads(Path(verdict.path).read_text())
        tags = {"trigger": trigger, "pipeline_run": run}
        made = call(
            Settings(),
            model,
            packed=packed,
            run_id=mlflow_run,
            recipe=recipe,
            verdict=told,
            tags=tags,
        )
        record.summary, record.details = f"version {made.number}", {"version": made.number}
    return made.number
