"""The production pipeline, the same for every model.

A condition looks at an output that is named ``Output``: kfp.local resolves no other name there.
"""

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


def production(model: str, image: str = IMAGE) -> dsl.base_component.BaseComponent:
    """Return the pipeline of a model, its steps in an image."""

    @dsl.pipeline(
        name=f"{model}-production",
        display_name=f"{model}: from data to production",
        description=f"Trains {model}, and deploys it after the gate and the canary analysis.",
    )
    def pipeline(
        run: str = "",
        commit: str = "",
        trigger: str = "manual",
        force: bool = False,
        strategy: str = "canary",
        model: str = model,
    ) -> None:
        """Train, examine, release.

        Args:
            run: The id under which the steps record what they do; empty for the engine's own.
            commit: A commit of the Git remote; empty for the tip of its branch.
            trigger: Why the run was started: data, feature, maintenance or manual.
            force: Whether to train although nothing is new.
            strategy: How the traffic is moved to a new version: canary, blue-green or rolling.
            model: The model's name.
        """
        # An engine fills its id in where a task names it, and nowhere above.
        whose = {"run": run, "job": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        ending = report(**whose, model=model, trigger=trigger)
        equip(ending, "report", image)
        with dsl.ExitHandler(ending, name="Production"):
            source = checkout(**whose, model=model, commit=commit, force=force)
            equip(source, "checkout", image)
            with dsl.If(source.outputs["Output"] == True, name="Something is new"):  # noqa: E712
                _train_and_release(whose, model, trigger, strategy, source, image)

    return pipeline


def _train_and_release(
    whose: dict[str, object],
    model: str,
    trigger: str,
    strategy: str,
    source: dsl.PipelineTask,
    image: str,
) -> None:
    facts = {"commit": source.outputs["commit"], "data_hash": source.outputs["data_hash"]}
    rows = prepare(**whose, model=model, raw=source.outputs["raw"])
    equip(rows, "prepare", image)
    fitted = train(**whose, model=model, rows=rows.outputs["train"])
    equip(fitted, "train", image)
    evaluated = evaluate(
        **whose,
        model=model,
        trained=fitted.outputs["trained"],
        train=rows.outputs["train"],
        test=rows.outputs["test"],
        **facts,
    )
    equip(evaluated, "evaluate", image)
    bundle = evaluated.outputs["bundle"]
    decided = gate(
        **whose,
        model=model,
        bundle=bundle,
        test=rows.outputs["test"],
        champion=source.outputs["champion"],
    )
    equip(decided, "gate", image)
    found = {
        "trained": fitted.outputs["trained"],
        "verdict": decided.outputs["verdict"],
        "recipe": source.outputs["recipe"],
        "trigger": trigger,
        **facts,
    }
    # Not If and Else: that would be a graph more, and each graph is a pod.
    with dsl.If(decided.outputs["Output"] == True, name="Passed"):  # noqa: E712
        released = release(**whose, model=model, bundle=bundle, strategy=strategy, **found)
        equip(released, "release", image)
        staged = stage(**whose, bundle=bundle, version=released.output)
        equip(staged, "stage", image)
        analysed = canary(**whose, model=model, bundle=bundle, version=staged.output)
        equip(analysed, "canary", image)
        with dsl.If(analysed.output == True, name="Good"):  # noqa: E712
            promoted = promote(**whose, model=model, version=staged.output)
            equip(promoted, "promote", image)
    with dsl.If(decided.outputs["Output"] == False, name="Failed"):  # noqa: E712
        rejected = reject(**whose, model=model, **found)
        equip(rejected, "reject", image)
