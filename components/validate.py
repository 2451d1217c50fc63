"""Component: examine the raw data."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    run: str, job: str, model: str, raw: dsl.Input[dsl.Dataset], validated: dsl.Output[dsl.Dataset]
) -> None:
    """Write the data in the schema's types."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.validate import validate as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "validate") as record:
        rows = call(model, Path(raw.path), target=Path(validated.path))
        record.summary, record.details = f"{rows} rows keep the schema", {"rows": rows}
