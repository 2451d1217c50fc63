"""Component: find what a run is made of, and whether there is anything new."""

from typing import NamedTuple

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def checkout(model: str, commit: str, force: bool, strategy: str, candidate: str) -> NamedTuple(
    "Checkout", [("source", dict), ("champion", int), ("Output", bool)]
):
    """Return the source of a run, the champion's version, and whether there is anything new."""
    from roadworthy.steps.checkout import checkout as call
    from roadworthy.steps.task import task

    with task("checkout") as step:
        chosen = {"strategy": strategy, "candidate": candidate}
        found = call(step.settings, model, commit=commit, force=force, **chosen)
        step.done(found)
    return found.source, found.champion, found.new
