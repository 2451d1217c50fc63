"""The one pipeline, which takes any model from its data to the road.

A condition looks at an output that is named ``Output``: kfp.local resolves no other name there.
"""

from kfp import dsl

from components import IMAGE
from components.checkout import checkout
from components.evaluate import evaluate
from components.gate import gate
from components.prepare import prepare
from components.promote import promote
from components.push import push
from components.register import register
from components.reject import reject
from components.report import report
from components.roll_back import roll_back
from components.roll_out import roll_out
from components.train import train
from components.validate import validate
from components.verify import verify
from pipelines.cluster import equip


def production(model: str, image: str = IMAGE) -> dsl.base_component.BaseComponent:
    """Return the pipeline of a model, its steps in an image."""

    @dsl.pipeline(
        name=f"{model}-production",
        display_name=f"{model}: from data to the road",
        description=f"Takes {model} from its data to the road, or says why not.",
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
                _examine(whose, model, trigger, strategy, source, image)

    return pipeline


def _examine(
    whose: dict[str, object],
    model: str,
    trigger: str,
    strategy: str,
    source: dsl.PipelineTask,
    image: str,
) -> None:
    facts = {"commit": source.outputs["commit"], "data_hash": source.outputs["data_hash"]}
    valid = validate(**whose, model=model, raw=source.outputs["raw"])
    equip(valid, "validate", image)
    rows = prepare(**whose, model=model, validated=valid.outputs["validated"])
    equip(rows, "prepare", image)
    fitted = train(**whose, model=model, rows=rows.outputs["train"])
    equip(fitted, "train", image)
    examined = evaluate(
        **whose,
        model=model,
        trained=fitted.outputs["trained"],
        train=rows.outputs["train"],
        test=rows.outputs["test"],
        **facts,
    )
    equip(examined, "evaluate", image)
    decided = gate(
        **whose,
        model=model,
        bundle=examined.outputs["bundle"],
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
    with dsl.If(decided.outputs["Output"] == True, name="Passed"):  # noqa: E712
        registered = register(
            **whose,
            model=model,
            bundle=examined.outputs["bundle"],
            strategy=strategy,
            **found,
        )
        equip(registered, "register", image)
        _release(whose, model, examined.outputs["bundle"], registered.output, image)
    with dsl.Else(name="Failed"):
        rejected = reject(**whose, model=model, **found)
        equip(rejected, "reject", image)


def _release(
    whose: dict[str, object], model: str, bundle: object, version: object, image: str
) -> None:
    pushed = push(**whose, model=model, bundle=bundle, version=version)
    equip(pushed, "push", image)
    staged = roll_out(**whose, bundle=bundle, version=version, tag=pushed.output)
    equip(staged, "roll-out", image)
    verified = verify(**whose, bundle=bundle, version=staged.output)
    equip(verified, "verify", image)
    with dsl.If(verified.outputs["Output"] == True, name="Good"):  # noqa: E712
        promoted = promote(**whose, model=model, version=version)
        equip(promoted, "promote", image)
    with dsl.Else(name="Bad"):
        problem = verified.outputs["problem"]
        back = roll_back(**whose, model=model, version=version, problem=problem)
        equip(back, "roll-back", image)
