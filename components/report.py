"""Component: write the run's report, however the run ended."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    run: str,
    job: str,
    model: str,
    trigger: str,
    status: dsl.PipelineTaskFinalStatus,
    html: dsl.Output[dsl.HTML],
) -> str:
    """Write the report; return how the run ended."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.report import report as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "report") as record:
        ended = call(Settings(), run, model=model, trigger=trigger, html=Path(html.path))
        record.summary, record.details = ended.outcome, {"engine": status.state}
    return ended.outcome
