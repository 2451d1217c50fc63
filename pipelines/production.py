"""The production pipeline, the same for every model.

A condition looks at an output that is named ``Output``: kfp.local resolves no other name there.
"""

from collections.abc import Callable
from functools import partial

from kfp import dsl

from components import IMAGE
from components.canary import canary
from components.checkout import checkout
from components.evaluate import evaluate
from components.gate import gate
from components.prepare import prepare
from components.promote import promote
from components.reject import reject
from components.release import release
from components.report import report
from components.stage import stage
from components.train import train
from pipelines.cluster import equip
from roadworthy.models import contract


def production(model: str, image: str = IMAGE) -> dsl.base_component.BaseComponent:
    """Return the pipeline of a model, its steps in an image."""
    equipped = partial(equip, image=image, resources=contract.load(model).resources)

    @dsl.pipeline(
        name=f"{model}-production",
        display_name=f"{model}: from data to production",
        description=f"Trains {model}, and deploys it after the gate and the canary analysis.",
    )
    def pipeline(
        commit: str = "",
        trigger: str = "manual",
        force: bool = False,
        strategy: str = "canary",
        candidate: str = "",
    ) -> None:
        """Train, evaluate, release.

        Args:
            commit: A commit of the Git remote; empty for the tip of its branch.
            trigger: Why the run was started: data, feature, maintenance or manual.
            force: Whether to train although nothing is new.
            strategy: How the traffic is moved to a new version: canary, blue-green or rolling.
            candidate: The only candidate to train and register; empty for the best.
        """
        ending = equipped(report(model=model, trigger=trigger))
        with dsl.ExitHandler(ending, name="Production"):
            chosen = {"strategy": strategy, "candidate": candidate}
            found = equipped(checkout(model=model, commit=commit, force=force, **chosen))
            with dsl.If(found.outputs["Output"] == True, name="Something is new"):  # noqa: E712
                _train_and_release(model, trigger, strategy, candidate, found, equipped)

    return pipeline


def _train_and_release(
    model: str,
    trigger: str,
    strategy: str,
    candidate: str,
    found: dsl.PipelineTask,
    equipped: Callable[[dsl.PipelineTask], dsl.PipelineTask],
) -> None:
    source = found.outputs["source"]
    rows = equipped(prepare(model=model, source=source))
    halves = {"train": rows.outputs["train"], "test": rows.outputs["test"]}
    fitted = equipped(train(model=model, candidate=candidate, rows=halves["train"]))
    trained = fitted.outputs["trained"]
    evaluated = equipped(evaluate(model=model, source=source, trained=trained, **halves))
    bundle, champion = evaluated.outputs["bundle"], found.outputs["champion"]
    decided = equipped(gate(model=model, bundle=bundle, test=halves["test"], champion=champion))
    attempt = {
        "model": model,
        "source": source,
        "bundle": bundle,
        "trained": trained,
        "verdict": decided.outputs["verdict"],
        "trigger": trigger,
    }
    # Not If and Else: that would be a graph more, and each graph is a pod.
    with dsl.If(decided.outputs["Output"] == True, name="Passed"):  # noqa: E712
        version = equipped(release(strategy=strategy, **attempt)).output
        staged = equipped(stage(bundle=bundle, version=version))
        analysed = equipped(canary(model=model, bundle=bundle, version=version)).after(staged)
        with dsl.If(analysed.output == True, name="Good"):  # noqa: E712
            equipped(promote(model=model, version=version))
    with dsl.If(decided.outputs["Output"] == False, name="Failed"):  # noqa: E712
        equipped(reject(**attempt))
