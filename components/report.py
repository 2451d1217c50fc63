"""Component: write the run's report, however the run ended."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    model: str, trigger: str, status: dsl.PipelineTaskFinalStatus, html: dsl.Output[dsl.HTML]
) -> str:
    """Write the report; return the outcome of the run."""
    from pathlib import Path

    from roadworthy.steps.report import report as call
    from roadworthy.steps.task import task

    with task("report") as step:
        ended = call(step.settings, step.run, model=model, trigger=trigger, html=Path(html.path))
        step.record.summary, step.record.details = ended.outcome, {"engine": status.state}
    return ended.outcome
