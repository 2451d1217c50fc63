"""Component: push a registered bundle to DVC's remote and its commit and tag to Git's."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def push(run: str, job: str, model: str, bundle: dsl.Input[dsl.Model], version: int) -> str:
    """Return the tag of the release."""
    from pathlib import Path

    from roadworthy.core.settings import Settings
    from roadworthy.steps.push import push as call
    from roadworthy.tracking.records import step

    run = run or job
    with step(Settings().records, run, "push") as record:
        tag = f"{model}-v{version}"
        commit = call(Settings(), packed=Path(bundle.path), tag=tag)
        record.summary, record.details = f"tag {tag}", {"tag": tag, "commit": commit}
    return tag
