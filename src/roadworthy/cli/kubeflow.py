"""The commands about Kubeflow: ``roadworthy submit``, ``schedule`` and ``runs``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.rollout import named
from roadworthy.cli.workplace import settings_here
from roadworthy.core.errors import ExitCode
from roadworthy.core.terminal import KUBEFLOW, harmless, print_json
from roadworthy.rollout.engine.state import Strategy

if TYPE_CHECKING:
    from roadworthy.engines.kubeflow.connection import Connection
    from roadworthy.engines.kubeflow.following import State
    from roadworthy.engines.kubeflow.scheduling import Schedule
    from roadworthy.engines.kubeflow.settings import KubeflowSettings
    from roadworthy.engines.kubeflow.submission import Submitted
    from roadworthy.engines.kubeflow.verdict import Verdict
    from roadworthy.engines.local.runs import Listed

_WIDE = 1000
_console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
_aside = Console(stderr=True, highlight=False)

Trigger = Literal["data", "feature", "maintenance", "manual"]
Model = Annotated[
    str, typer.Argument(help="The model, e.g. fuel.", show_default=False, callback=named)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add these commands to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy submit fuel    "
        "roadworthy submit fuel --trigger data --timestamp 2026-11-21T10:00:00Z",
        rich_help_panel=KUBEFLOW,
    )(submit)
    app.command(
        epilog='Examples:  roadworthy schedule fuel --cron "0 3 * * 1"    '
        "roadworthy schedule fuel --remove",
        rich_help_panel=KUBEFLOW,
    )(schedule)
    app.command(
        epilog="Examples:  roadworthy runs    roadworthy runs --model fuel --json",
        rich_help_panel=KUBEFLOW,
    )(runs)


def submit(
    model: Model,
    *,
    trigger: Annotated[Trigger, typer.Option(help="Why it is run.")] = "manual",
    timestamp: Annotated[
        str, typer.Option(help="When it was triggered, ISO 8601; part of its name. [now]")
    ] = "",
    commit: Annotated[str, typer.Option(help="The commit that is run. [the one here]")] = "",
    image: Annotated[
        str, typer.Option(help="The image of that commit. [ROADWORTHY_IMAGE]", show_default=False)
    ] = "",
    strategy: Annotated[Strategy, typer.Option(help="How the traffic is moved.")] = "canary",
    force: Annotated[bool, typer.Option(help="Train although nothing is new.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for its end, and end as it did.")] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait at most.", min=0, show_default="none")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the production pipeline of a commit on Kubeflow.

    The same again, with the timestamp of before, takes up its run, unless that failed: a job may be
    run again. The run is Kubeflow's: Ctrl-C ends the waiting only.
    """
    from roadworthy.engines.kubeflow import submission
    from roadworthy.engines.kubeflow.connection import Connection
    from roadworthy.engines.kubeflow.packaging import package
    from roadworthy.engines.kubeflow.settings import required

    moment = _moment(timestamp)
    kubeflow, settings = required(), settings_here(Path.cwd())
    connection = Connection(kubeflow)
    made = package(settings, Path.cwd(), model, commit=commit, image=image)
    arguments: dict[str, Any] = {"commit": made.commit, "trigger": trigger}
    arguments |= {"force": True} if force else {}
    arguments |= {"strategy": strategy} if strategy != "canary" else {}
    name = submission.run_name(trigger, moment)
    submitted = submission.submit(connection, made, name, arguments)
    shown = Console(quiet=True) if as_json else _console
    _print_start(shown, submitted)
    told = {
        "run": submitted.run,
        "name": submitted.name,
        "model": model,
        "commit": submitted.commit,
        "image": made.image,
        "version": submitted.version,
        "address": submitted.address,
        "found": submitted.found,
    }
    if not wait:
        _finish(told, as_json=as_json, code=ExitCode.DONE)
    from roadworthy.engines.kubeflow.verdict import conclude

    try:
        state = _follow(shown, connection, submitted, timeout)
        verdict = conclude(settings, submitted.run, state)
    except KeyboardInterrupt:
        _aside.print(
            f"The run goes on. See {submitted.address}, or say the same again with "
            f"--timestamp {submission.timestamp(moment)} to wait for its end.",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _print_end(shown, submitted, verdict)
    told |= {"state": state.state, "outcome": verdict.outcome, "why": verdict.why}
    _finish(told, as_json=as_json, code=verdict.exit_code)


def schedule(
    model: Model,
    *,
    cron: Annotated[
        str, typer.Option(help="When: the five fields of crontab, or six with the second first.")
    ] = "",
    trigger: Annotated[Trigger, typer.Option(help="Why its runs say that they run.")] = "data",
    remove: Annotated[bool, typer.Option("--remove", help="Let it run no more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the pipeline of a model again and again, or see when it is run.

    With --cron the schedule is made or changed, with --remove it is removed, without either it is
    shown. A run takes the latest version that was submitted, and the tip of the branch. The clock
    is that of Kubeflow's controller, which is UTC unless its CRON_SCHEDULE_TIMEZONE is set.
    """
    from roadworthy.engines.kubeflow import scheduling
    from roadworthy.engines.kubeflow.connection import Connection
    from roadworthy.engines.kubeflow.settings import required

    if cron and remove:
        raise typer.BadParameter("--cron makes a schedule and --remove removes it: give one.")
    connection = Connection(required())
    found: Schedule | None
    if cron:
        found = scheduling.put(connection, model, cron=cron, trigger=trigger)
    elif remove:
        found = scheduling.remove(connection, model)
    else:
        found = scheduling.current(connection, model)
    if as_json:
        print_json({"model": model, "schedule": found and found.to_dict(), "removed": remove})
    else:
        told = _scheduled(model, found, removed=remove)
        _console.print(harmless(told), soft_wrap=True, markup=False)


def runs(
    *,
    model: Annotated[str, typer.Option(help="Of this model alone.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="How many, the latest first.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs on Kubeflow; where ROADWORTHY_KFP_URL is not set, those of this machine."""
    from roadworthy.engines.kubeflow.settings import from_environment

    found = _listed(from_environment(), model, limit)
    if as_json:
        print_json([run.to_dict() for run in found])
    elif not found:
        _console.print("There was no run yet. `roadworthy run fuel` starts one here.")
    else:
        _print_runs(found)


def _listed(kubeflow: KubeflowSettings, model: str, limit: int) -> list[Listed]:
    now = datetime.now(UTC)
    if not kubeflow.url:
        from roadworthy.engines.local.runs import on_this_machine

        return on_this_machine(settings_here(Path.cwd()), model, limit, now)
    from roadworthy.engines.kubeflow.connection import Connection
    from roadworthy.engines.kubeflow.listing import on_kubeflow

    return on_kubeflow(Connection(kubeflow), model, limit, now)


def _moment(told: str) -> datetime:
    """Return a time that a person or GitLab wrote; without one, now."""
    if not told:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(told)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):  # with its offset it may be before year 1, or after 9999
        pass
    raise typer.BadParameter(
        f"{told!r} is no time with its offset: write e.g. 2026-11-21T10:00:00Z."
    )


def _follow(
    shown: Console, connection: Connection, submitted: Submitted, timeout: float | None
) -> State:
    """Tell what a run's steps do until it has ended."""
    from roadworthy.engines.kubeflow.following import State, watch

    def tell(sentence: str) -> None:
        _aside.print(harmless(sentence), soft_wrap=True, markup=False)

    last = State("PENDING")
    with shown.status("The run waits for a place.") as status:
        for state in watch(connection, submitted.run, timeout=timeout, tell=tell):
            for step, task in state.tasks.items():
                if str(last.tasks.get(step, "")) == str(task):
                    continue
                told = harmless(task)
                status.update(escape(told))
                # A terminal shows what runs in the line that changes.
                if not (shown.is_terminal and task.state in ("PENDING", "RUNNING")):
                    shown.print(told, soft_wrap=True, markup=False)
            last = state
    return last


def _print_start(shown: Console, submitted: Submitted) -> None:
    verb = "Found" if submitted.found else "Started"
    shown.print(
        f"{verb} the run {submitted.name} of {submitted.model} at commit {submitted.commit[:12]}.",
        soft_wrap=True,
        markup=False,
    )
    shown.print(f"See {submitted.address}", soft_wrap=True, markup=False)


def _print_end(shown: Console, submitted: Submitted, verdict: Verdict) -> None:
    style = "green" if verdict.exit_code == ExitCode.DONE else "red"
    outcome = (verdict.outcome or "done").capitalize()
    shown.print(outcome, style=style, end="")
    shown.print(f": {harmless(verdict.why)}", soft_wrap=True, markup=False)
    shown.print(f"See {submitted.address}", soft_wrap=True, markup=False)


def _finish(told: dict[str, Any], *, as_json: bool, code: ExitCode) -> None:
    if as_json:
        print_json(told | {"exit_code": int(code)})
    raise typer.Exit(code)


def _scheduled(model: str, found: Schedule | None, *, removed: bool) -> str:
    if found is None:
        return (
            f"{model} has no schedule. Make one with `roadworthy schedule {model} --cron "
            f'"0 3 * * 1"`.'
        )
    verb = "is no longer run" if removed else "is run"
    off = "" if found.active or removed else ", but its schedule is switched off in Kubeflow"
    return f"{model} {verb} at {found.cron} (trigger {found.trigger}){off}."


def _print_runs(found: list[Listed]) -> None:
    """Print a line for each: on a terminal its name is a link, elsewhere its address follows."""
    from rich.text import Text

    from roadworthy.core.terminal import harmless, table

    on_terminal = _console.is_terminal
    columns = ("name", "model", "trigger", "state", "started", ">duration")
    _console.print(
        table(
            columns if on_terminal else (*columns, "address"),
            (
                (
                    Text(harmless(run.name), style=f"link {run.address}" if on_terminal else ""),
                    run.model,
                    run.trigger,
                    run.state,
                    run.started.strftime("%Y-%m-%d %H:%M:%S") if run.started else "",
                    _duration(run.seconds),
                    *(() if on_terminal else (run.address,)),
                )
                for run in found
            ),
        )
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
