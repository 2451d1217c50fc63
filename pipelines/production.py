"""The one pipeline, which takes any model from its data to the road.

A condition looks at an output that is named ``Output``: kfp.local resolves no other name there.
"""

from kfp import dsl

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


def production(model: str) -> dsl.base_component.BaseComponent:
    """Return the pipeline of a model."""

    @dsl.pipeline(
        name=f"{model}-production",
        description=f"Takes {model} from its data to the road, or says why not.",
    )
    def pipeline(
        run: str,
        commit: str = "",
        trigger: str = "manual",
        force: bool = False,
        strategy: str = "canary",
        model: str = model,
    ) -> None:
        """Train, examine, release.

        Args:
            run: The id under which the steps record what they do.
            commit: A commit of the Git remote; empty for the tip of its branch.
            trigger: Why the run was started: data, feature, maintenance or manual.
            force: Whether to train although nothing is new.
            strategy: How the traffic is moved to a new version: canary, blue-green or rolling.
            model: The model's name.
        """
        ending = report(run=run, model=model, trigger=trigger)
        _shown(ending, "Write the report")
        with dsl.ExitHandler(ending, name="Production"):
            source = checkout(run=run, model=model, commit=commit, force=force)
            _shown(source, "Check out code and data")
            with dsl.If(source.outputs["Output"] == True, name="Something is new"):  # noqa: E712
                _examine(run, model, trigger, strategy, source)

    return pipeline


def _examine(run: str, model: str, trigger: str, strategy: str, source: dsl.PipelineTask) -> None:
    facts = {"commit": source.outputs["commit"], "data_hash": source.outputs["data_hash"]}
    valid = validate(run=run, model=model, raw=source.outputs["raw"])
    _shown(valid, "Validate the data")
    rows = prepare(run=run, model=model, validated=valid.outputs["validated"])
    _shown(rows, "Prepare the data")
    fitted = train(run=run, model=model, rows=rows.outputs["train"])
    _shown(fitted, "Train the candidates")
    examined = evaluate(
        run=run,
        model=model,
        trained=fitted.outputs["trained"],
        train=rows.outputs["train"],
        test=rows.outputs["test"],
        **facts,
    )
    _shown(examined, "Evaluate on the hold-out")
    decided = gate(
        run=run,
        model=model,
        bundle=examined.outputs["bundle"],
        test=rows.outputs["test"],
        champion=source.outputs["champion"],
    )
    _shown(decided, "Gate")
    found = {
        "trained": fitted.outputs["trained"],
        "verdict": decided.outputs["verdict"],
        "recipe": source.outputs["recipe"],
        "trigger": trigger,
        **facts,
    }
    with dsl.If(decided.outputs["Output"] == True, name="Passed"):  # noqa: E712
        registered = register(
            run=run,
            model=model,
            bundle=examined.outputs["bundle"],
            strategy=strategy,
            **found,
        )
        _shown(registered, "Register the version")
        _release(run, model, examined.outputs["bundle"], registered.output)
    with dsl.Else(name="Failed"):
        rejected = reject(run=run, model=model, **found)
        _shown(rejected, "Note why not")


def _release(run: str, model: str, bundle: object, version: object) -> None:
    pushed = push(run=run, model=model, bundle=bundle, version=version)
    _shown(pushed, "Push bundle and tag")
    staged = roll_out(run=run, bundle=bundle, version=version, tag=pushed.output)
    _shown(staged, "Roll out")
    verified = verify(run=run, bundle=bundle, version=staged.output)
    _shown(verified, "Verify")
    with dsl.If(verified.outputs["Output"] == True, name="Good"):  # noqa: E712
        promoted = promote(run=run, model=model, version=version)
        _shown(promoted, "Promote to champion")
    with dsl.Else(name="Bad"):
        back = roll_back(run=run, model=model, version=version, problem=verified.outputs["problem"])
        _shown(back, "Roll back")


def _shown(task: dsl.PipelineTask, name: str) -> None:
    """Name a task for people. A step looks at Git, the registry or a clock: no result is reused."""
    task.set_display_name(name)
    task.set_caching_options(enable_caching=False)
