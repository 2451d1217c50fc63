"""The ``roadworthy`` command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy import __version__
from roadworthy.cli import cycle, doctor, kubeflow, preview, rollout, ui
from roadworthy.cli.arguments import AsJson, CandidateName, ModelName, Trigger, known, named
from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.core.terminal import HERE, KUBEFLOW, MODELS, aside, console, harmless, print_json
from roadworthy.data.workplace import settings_here
from roadworthy.rollout.engine.state import Strategy

if TYPE_CHECKING:
    from roadworthy.cli.up import Sample
    from roadworthy.core.settings import Settings
    from roadworthy.engines.local.running import Run
    from roadworthy.review.comparison import Comparison
    from roadworthy.tracking.registry import Registry
    from roadworthy.tracking.report import Report

app = typer.Typer(
    name="roadworthy",
    help="Takes a model from its data to production, and says where each version came from.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"roadworthy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    """Take a model from its data to production, and say where each version came from."""


def main() -> None:
    """Run the command line; an error is a sentence and an exit code."""
    try:
        for sign in (signal.SIGTERM, signal.SIGHUP):  # told to end, it ends as by Ctrl-C
            signal.signal(sign, signal.default_int_handler)
        # Outside its standalone mode the app returns the code of an Exit, also that of Ctrl-C.
        code = app(standalone_mode=False)
    except RoadworthyError as error:
        _print_error(error)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort: told in a sentence
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own, for wrong usage
            error.show()
            sys.exit(error.exit_code)
        _print_unexpected(error)
        sys.exit(ExitCode.FAILED)
    if code == ExitCode.INTERRUPTED:
        aside.print("Stopped.")
    sys.exit(code)


def _print_error(error: RoadworthyError) -> None:
    aside.print(f"[red]Error:[/red] {escape(harmless(error))}", soft_wrap=True)


def _each_named(models: list[str] | None) -> list[str] | None:
    return models and [named(model) for model in models]


@app.command(
    epilog="Examples:  roadworthy run fuel    roadworthy run fuel --candidate ridge    "
    "roadworthy run fuel --experiment --set ridge.alpha=3",
    rich_help_panel=HERE,
)
def run(
    model: ModelName,
    *,
    trigger: Annotated[Trigger, typer.Option(help="Why it is run.")] = "manual",
    force: Annotated[bool, typer.Option(help="Train although nothing is new.")] = False,
    strategy: Annotated[Strategy, typer.Option(help="How the traffic is moved.")] = "canary",
    candidate: CandidateName = "",
    experiment: Annotated[
        bool,
        typer.Option("--experiment", help="Only log to MLflow, with what is not committed."),
    ] = False,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="Another value for a parameter, in an experiment; repeatable.",
            metavar="CANDIDATE.PARAMETER=VALUE",
            show_default="none",
            default_factory=list,
        ),
    ],
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the production pipeline of a model on this machine, from the commit you are at.

    A candidate that --candidate names becomes a version even if the gate refuses it, which is then
    not deployed. With --experiment the clone is tried as it stands, committed or not: every
    candidate is logged to MLflow, and none is registered or deployed.
    """
    known(model, candidate)
    if experiment:
        preview.experiment(model, candidate=candidate, changes=changes, as_json=as_json)
        return
    if changes:
        raise typer.BadParameter(
            "A run is made of a commit: use --set together with --experiment, or change the "
            "model and commit that."
        )
    report = _run(
        model,
        trigger=trigger,
        force=force,
        strategy=strategy,
        candidate=candidate,
        verbose=verbose,
        quiet=as_json,
    )
    if as_json:
        print_json(report.to_dict())
    raise typer.Exit(report.exit_code)


@app.command(
    epilog="Examples:  roadworthy up fuel    roadworthy up --all    roadworthy up fuel --once",
    rich_help_panel=HERE,
)
def up(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="The models, e.g. fuel.", show_default=False, callback=_each_named),
    ] = None,
    *,
    all_models: Annotated[bool, typer.Option("--all", help="Every model there is.")] = False,
    port: Annotated[int, typer.Option(help="The port to serve at.")] = 8080,
    once: Annotated[bool, typer.Option(help="Stop after one sample request.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Serve, run the pipeline, send one sample request, and go on serving until Ctrl-C.

    Several models are served by one server. If one fails, the others are served.
    """
    from roadworthy.cli.up import is_ready, sample, serving
    from roadworthy.core import ports
    from roadworthy.models import contract

    if bool(models) == all_models:
        raise typer.BadParameter("Name the models, or give --all.")
    names = contract.available() if all_models else models or []
    for model in names:
        known(model)
    ports.require_free(port)
    settings = settings_here(Path.cwd())
    codes = []
    with serving(settings, port) as served:
        for model in names:
            try:
                report = _run(model, trigger="manual", force=False, verbose=verbose)
                codes.append(report.exit_code)
                # A champion that was there before answers, whatever became of the new one.
                if report.outcome != "failed" and is_ready(served.url, model):
                    sampled = sample(served.url, model, settings.token)
                    _print_sample(served.url, model, sampled, once=once)
            except RoadworthyError as error:
                if len(names) == 1:
                    raise
                codes.append(error.exit_code)
                _print_error(error)
        failed = [model for model in names if not is_ready(served.url, model)]
        if len(failed) == len(names) or codes == [ExitCode.FAILED]:
            raise typer.Exit(max(codes))
        if failed:
            aside.print(f"[yellow]Warning:[/yellow] not served: {', '.join(failed)}")
        if not once:
            console.print(f"Serving at [bold]{served.url}/[/bold] until Ctrl-C.")
            served.wait()
    raise typer.Exit(max(codes))


@app.command(
    epilog="Examples:  roadworthy serve    roadworthy serve --host 0.0.0.0 --port 9000",
    rich_help_panel=HERE,
)
def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.")] = 8080,
    workers: Annotated[int, typer.Option(help="How many processes serve.", min=1)] = 1,
    grpc_port: Annotated[
        int | None, typer.Option(help="The port to listen at for gRPC.", show_default="none")
    ] = None,
    cors_origins: Annotated[
        list[str],
        typer.Option(
            "--cors-origin",
            help="An origin whose pages may read answers; repeatable.",
            show_default="none",
            default_factory=list,
        ),
    ],
    # For a program that starts this one with a pipe as standard input: both end together.
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Serve the champions and the page; a new champion is picked up without a restart.

    SIGHUP (kill -HUP PID) restarts the model server, for new code, without losing a request.
    SIGTERM and Ctrl-C end it, once every request that was taken is answered.
    With ROADWORTHY_TOKEN set, clients must send it, except for liveness and readiness.
    """
    from roadworthy.core.parent_process import end_with_parent
    from roadworthy.rollout.local.restoration import restore
    from roadworthy.rollout.local.server import announce
    from roadworthy.rollout.local.watchdog import watching
    from roadworthy.serving.process.supervisor import supervise
    from roadworthy.serving.settings import ServerSettings

    if with_parent:
        end_with_parent()
    settings = settings_here(Path.cwd())
    settings.make_home()
    settings.routing.mkdir(parents=True, exist_ok=True)
    for told in restore(settings):
        console.print(told)
    client = _client()
    told_host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
    chosen = ServerSettings(
        routing=settings.routing,
        host=host,
        port=port,
        client=client,
        workers=workers,
        token=settings.token.get_secret_value() or None,
        cors_origins=tuple(cors_origins),
        grpc_port=grpc_port,
    )
    with announce(settings.home, f"http://{told_host}:{port}"), watching(settings):
        code = supervise(chosen, prepare=lambda: _put_back(settings))
    raise typer.Exit(code)


@app.command(
    epilog="Examples:  roadworthy models    roadworthy models --json", rich_help_panel=MODELS
)
def models(*, as_json: AsJson = False) -> None:
    """List every model with its versions: aliases, candidate, metrics, age."""
    from roadworthy.core.terminal import age, table
    from roadworthy.models.contract import available
    from roadworthy.review.lineage import describe

    registry = _registry()
    versions = [version for name in registry.models() for version in registry.versions(name)]
    if as_json:
        print_json([describe(registry, version) for version in versions])
        return
    columns = ("model", ">version", "alias", "candidate", "metrics", "commit", ">age")
    rows = [
        (
            version.model,
            version.number,
            ", ".join(version.aliases),
            version.tags.get("candidate", ""),
            _headline(registry.metrics(version)),
            version.tags.get("commit", "")[:8],
            age(version.created),
        )
        for version in versions
    ]
    without = sorted(set(available()) - {version.model for version in versions})
    console.print(table(columns, [*rows, *((name, "none") for name in without)]))
    for name in without:
        console.print(
            f"There is no version yet of {name}. `roadworthy run {name}` makes the first."
        )


@app.command(
    epilog="Examples:  roadworthy lineage fuel    roadworthy lineage fuel:3 --json",
    rich_help_panel=MODELS,
)
def lineage(
    version: Annotated[
        str, typer.Argument(help="MODEL, MODEL@champion, MODEL@challenger or MODEL:N.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the origin of a version: commit, data, run, metrics, gate, who and when."""
    from roadworthy.core.terminal import facts
    from roadworthy.review.lineage import lineage as origin

    model, reference = _reference(version)
    found = origin(_registry(), model, reference)
    if as_json:
        print_json(found)
        return
    metrics = found.pop("metrics")
    found["aliases"] = ", ".join(found["aliases"])
    console.print(facts((name, value) for name, value in found.items() if value != ""))
    console.print(facts((f"  {name}", f"{value:.4f}") for name, value in sorted(metrics.items())))


@app.command(
    epilog="Examples:  roadworthy history fuel    roadworthy history fuel --json",
    rich_help_panel=MODELS,
)
def history(model: ModelName, *, as_json: AsJson = False) -> None:
    """Show which version became the champion when, by whom, why and on which evidence."""
    from dataclasses import asdict

    from roadworthy.core.terminal import facts
    from roadworthy.tracking import ledger

    entries = ledger.read(_registry().versions(model))
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif not entries:
        console.print(
            f"No version of {model} was promoted yet. `roadworthy run {model}` does that."
        )
    for entry in () if as_json else entries:
        console.print(f"{entry.at}  version {entry.version} {entry.event} by {entry.by}")
        evidence = {"why": entry.why, "candidate": entry.candidate, "gate": entry.gate}
        console.print(facts((f"  {name}", told) for name, told in evidence.items() if told))


@app.command(
    epilog="Examples:  roadworthy pull fuel:1 fuel-1    roadworthy pull fuel /tmp/champion",
    rich_help_panel=MODELS,
)
def pull(
    version: Annotated[str, typer.Argument(help="MODEL:N, or MODEL for its champion.")],
    directory: Annotated[Path, typer.Argument(help="A directory that does not exist yet.")],
) -> None:
    """Write the bundle of a version into a directory: graph, card, golden batch, estimator."""
    from roadworthy.bundles import releases

    model, reference = _reference(version)
    settings = settings_here(Path.cwd())
    found = _registry().find(model, reference)
    pulled = releases.save(settings, model, found.git_tag, directory)
    console.print(f"{directory}: {model}:{found.number}, bundle {pulled.digest[:12]}")


@app.command(
    epilog="Examples:  roadworthy reproduce fuel:1    roadworthy reproduce fuel --json",
    rich_help_panel=MODELS,
)
def reproduce(
    version: Annotated[str, typer.Argument(help="MODEL:N, or MODEL for its champion.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a release again from its tag and compare the bundles byte for byte."""
    from roadworthy.review.reproduction import reproduce as again

    model, reference = _reference(version)
    number = _registry().find(model, reference).number
    made = again(settings_here(Path.cwd()), model, number)
    if as_json:
        print_json(made.to_dict())
    elif made.same:
        console.print(
            f"{made.tag} is reproduced: bundle {made.found}, from commit {made.commit[:12]}."
        )
    else:
        aside.print(
            f"{made.tag} is not reproduced: {'; '.join(made.differences)}. "
            f"If packages differ: `git worktree add ../again {made.commit[:12]}`, then `make lint` "
            f"there, and here `../again/.venv/bin/roadworthy reproduce {version}`.",
            soft_wrap=True,
        )
    raise typer.Exit(ExitCode.DONE if made.same else ExitCode.FAILED)


@app.command(
    epilog="Examples:  roadworthy compare fuel:3 fuel:4    roadworthy compare fuel:4 --json",
    rich_help_panel=MODELS,
)
def compare(
    version: Annotated[str, typer.Argument(help="MODEL:N; what it is compared with comes first.")],
    other: Annotated[
        str, typer.Argument(help="Another of the same model; without it, the champion and VERSION.")
    ] = "",
    *,
    html: Annotated[
        Path | None,
        typer.Option(help="Where the page goes. [default: .roadworthy/comparisons/]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show two versions side by side, on the same hold-out: metrics, rows, and a page."""
    from roadworthy.review import comparison

    settings = settings_here(Path.cwd())
    model, reference = _reference(version)
    first, second = (
        ((model, reference), _reference(other))
        if other
        else ((model, "@champion"), (model, reference))
    )
    if not as_json:
        # On standard error: it takes some ten seconds, and the output may go to a file.
        names = " and ".join("".join(of) for of in (first, second))
        aside.print(f"Comparing {escape(names)} on the same rows ...", soft_wrap=True)
    found = comparison.compare(settings, first, second)
    file = html or comparison.default_file(settings, found)
    written = {"page": preview.save(found.to_html(), file, option="--html")}
    if found.disagreements:
        rows = found.disagreements.table.to_csv(index=False).encode()
        written["csv"] = preview.save(rows, file.with_suffix(".csv"), option="--html")
    if as_json:
        print_json(found.to_dict() | {name: str(path) for name, path in written.items()})
        return
    _print_comparison(found)
    console.print(f"Page: {written['page']}", soft_wrap=True, markup=False)
    if "csv" in written:
        console.print(f"Disagreements: {written['csv']}", soft_wrap=True, markup=False)


@app.command(
    epilog="Examples:  roadworthy new boats --data samples/boats.csv --target length_m    "
    "roadworthy new iris --data iris.csv --target species --ignore photo",
    rich_help_panel=MODELS,
)
def new(
    name: Annotated[str, typer.Argument(help="The model's name, e.g. boats.", show_default=False)],
    *,
    data: Annotated[Path, typer.Option(help="A CSV file with a header.", show_default=False)],
    target: Annotated[str, typer.Option(help="The column to predict.", show_default=False)],
    task: Annotated[
        Literal["regression", "classification"] | None,
        typer.Option(help="Whether TARGET is a number or a class.", show_default="what it holds"),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COL,...", help="Columns not to learn from.", show_default=False),
    ] = None,
    identifier: Annotated[
        str,
        typer.Option(
            "--id",
            metavar="COL",
            help="The column that says what a row is about, which is not learnt from.",
            show_default="a column that numbers the rows",
        ),
    ] = "",
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL,...", help="Columns of prose, not to learn from.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a new model: package, notebook, data under DVC and compiled pipeline."""
    from roadworthy.scaffolding import Roles, scaffold

    roles = Roles(_columns(ignore), identifier, _columns(text))
    started = scaffold(Path.cwd(), name, data, target, task, roles)
    chosen, reached = started.chosen, started.reached
    if as_json:
        facts = {"name": name, "task": chosen.task, "why": chosen.reason}
        print_json(
            facts | {"written": started.written, "notes": started.notes, "next": started.steps}
        )
        return
    metrics = ("accuracy", "macro_f1") if chosen.task == "classification" else ("r2", "mae")
    lines = (
        f"Started {name}, a {chosen.task}: {chosen.reason}. `--task` overrules that.",
        *(f"  {path}" for path in started.written),
        f"By cross-validation {reached.candidate} reaches "
        f"{' and '.join(f'{metric} {reached.of(metric):.4g}' for metric in metrics)}.",
        *started.notes,
        "",
        "Do next:",
        *(f"  {number}. {step}" for number, step in enumerate(started.steps, start=1)),
    )
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _columns(named: list[str] | None) -> tuple[str, ...]:
    """Return the columns of an option that may be repeated, or list several with commas."""
    return tuple(name.strip() for part in named or () for name in part.split(",") if name.strip())


@app.command(
    "compile",
    epilog="Examples:  roadworthy compile fuel    roadworthy compile --check    "
    "roadworthy compile fuel --image registry.example/pipeline@sha256:... --output fuel.yaml",
    rich_help_panel=KUBEFLOW,
)
def compile_(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The model; all of them when left out.",
            show_default=False,
            callback=lambda model: None if model is None else named(model),
        ),
    ] = None,
    *,
    image: Annotated[
        str,
        typer.Option(
            help="The image of the steps, by digest or commit. [ROADWORTHY_IMAGE, or none]",
            show_default=False,
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="The file. [pipelines/MODEL.yaml]", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Change nothing; fail if a compiled file is not up to date.")
    ] = False,
) -> None:
    """Compile the pipeline to the YAML that is run and submitted."""
    from roadworthy.data.git import inspect
    from roadworthy.models.contract import available

    if output and not model:
        raise typer.BadParameter("--output is the file of one model: name it.")
    root = inspect(Path.cwd()).root
    if model:
        known(model)
    # What is committed names no image, whatever this machine has in its environment.
    image = image or ("" if check else settings_here(Path.cwd()).image)
    options = [*(["--check"] if check else []), *([f"--image={image}"] if image else [])]
    options += [f"--output={output.absolute()}"] if output else []
    names = [model] if model else available()
    command = [sys.executable, "-m", "pipelines.compiler", *options, *names]
    done = subprocess.run(command, cwd=root, check=False)
    raise typer.Exit(done.returncode)


for commands in (cycle, rollout, kubeflow, preview, ui, doctor):
    commands.mount(app)


def _print_unexpected(error: Exception) -> None:
    """Print an unexpected error, and write the traceback to a file that can be reported."""
    import tempfile
    import traceback

    from roadworthy.models.errors import described

    with tempfile.NamedTemporaryFile("w", prefix="roadworthy-", suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    told = escape(described(error))
    aside.print(
        f"[red]Error:[/red] Unexpected error: {told}. The traceback is in {log.name}.",
        soft_wrap=True,
    )


def _run(
    model: str,
    *,
    trigger: str,
    force: bool,
    strategy: Strategy = "canary",
    candidate: str = "",
    verbose: bool = False,
    quiet: bool = False,
) -> Report:
    from roadworthy.engines.local.progress import follow
    from roadworthy.engines.local.running import start

    shown = Console(quiet=True) if quiet else console
    settings = settings_here(Path.cwd())
    with start(
        *(settings, Path.cwd(), model),
        trigger=trigger,
        force=force,
        strategy=strategy,
        candidate=candidate,
        confirm=lambda told: _is_wanted(told, ask=settings.older_commit == "ask" and not quiet),
    ) as started:
        _print_start(shown, started)
        try:
            if verbose:
                _print_log(started, sys.stderr if quiet else sys.stdout)
            else:
                follow(shown, started.watch())
        finally:  # also when a user stops it: every run has its report
            report = started.conclude()
    if report.outcome != "failed":
        _publish_latest(settings, model)
    _print_end(shown, started, report)
    return report


def _is_wanted(told: str, *, ask: bool) -> bool:
    """Return whether to run a commit that lacks what the champion was made of."""
    sentence = f"{told[:1].upper()}{told[1:]}."
    if ask and sys.stdin.isatty() and sys.stdout.isatty():
        return typer.confirm(f"{sentence} Run it all the same?")
    aside.print(f"[yellow]Warning:[/yellow] {sentence}", soft_wrap=True)
    return True


def _publish_latest(settings: Settings, model: str) -> None:
    """Publish the newest request that the data holds, for the routes of a model that has any."""
    from roadworthy.data.git import inspect_root
    from roadworthy.models import contract

    if model in contract.available() and hasattr(contract.load(model), "latest"):
        from roadworthy.steps.ingest import publish_known  # seconds

        try:
            publish_known(settings, model, inspect_root(Path.cwd()))
        except RoadworthyError as error:  # the run used committed data, the clone has other
            aside.print(f"[yellow]Warning:[/yellow] {escape(str(error))}", soft_wrap=True)


def _print_start(shown: Console, started: Run) -> None:
    if started.changes:
        names = escape(", ".join(started.changes[:5]))
        more = f" and {len(started.changes) - 5} more" if len(started.changes) > 5 else ""
        aside.print(
            f"[yellow]Warning:[/yellow] not committed, so not part of this run: {names}{more}",
            soft_wrap=True,
        )
    for warning in started.warnings:
        aside.print(f"[yellow]Warning:[/yellow] {escape(warning)}", soft_wrap=True)
    shown.print(f"Run {started.name} of {started.model} at commit {started.commit[:12]}")


def _print_log(started: Run, shown: TextIO) -> None:
    """Print the log as it grows."""
    with started.log.open(encoding="utf-8", errors="replace") as log:
        for _ in started.watch():
            shown.write(log.read())
            shown.flush()
        shown.write(log.read())


def _print_end(shown: Console, started: Run, report: Report) -> None:
    style = "green" if report.exit_code == ExitCode.DONE else "red"
    shown.print(
        f"[{style}]{report.outcome.capitalize()}[/{style}]: {escape(report.why)}", soft_wrap=True
    )
    place = f"{started.settings.records}/{started.name}/report.html"  # on this machine or in S3
    shown.print(f"Report: {place}", soft_wrap=True, markup=False)
    if report.outcome == "failed":
        shown.print(f"Log: {started.log}", soft_wrap=True, markup=False)


def _print_comparison(found: Comparison) -> None:
    from roadworthy.core.terminal import table
    from roadworthy.review.comparison import number, signed

    one, other = found.first.name, found.second.name
    console.print(f"[bold]{escape(found.verdict)}[/bold]", soft_wrap=True)
    for note in (f"On {found.rows} rows that {found.held_out} held out of its data.", *found.notes):
        console.print(note, soft_wrap=True, markup=False)
    console.print()
    columns = ("slice", "metric", f">{one}", f">{other}", ">difference", ">95 % interval", "better")
    lines = (
        (
            line.part or "all",
            line.metric,
            number(line.first),
            number(line.second),
            signed(line.difference),
            f"{signed(line.low)} to {signed(line.high)}",
            f"{line.better}{'' if line.certain or not line.better else ', may be chance'}",
        )
        for line in found.lines
    )
    console.print(table(columns, lines))


def _print_sample(url: str, model: str, sampled: Sample, *, once: bool) -> None:
    request, answer, version = sampled
    body = json.dumps({"instances": [request]})
    lines = (
        "",
        f"Asked   {json.dumps(request)}",
        f"Answer  {json.dumps(answer)}, by version {version}",
        "",
        "Try next:",
        *(() if once else (f"  1. open {url}/ and send another request",)),
        *(() if once else (f"  2. curl {url}/v1/models/{model}:predict -d '{body}'",)),
        *(("  1. make run                       # and open the page",) if once else ()),
        *(("  2. .venv/bin/roadworthy models    # every version",) if once else ()),
        f"  3. .venv/bin/roadworthy lineage {model}   # where the answer came from",
        "",
    )
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _put_back(settings: Settings) -> None:
    """Write lost routing files again, for the next server."""
    from roadworthy.rollout.local.restoration import restore

    try:
        for told in restore(settings):
            console.print(told, soft_wrap=True, markup=False)
    except RoadworthyError as error:
        aside.print(str(error), soft_wrap=True, markup=False)


def _client() -> Path | None:
    """Return the directory of the page: that of the clone one is in."""
    from roadworthy.data.git import inspect

    try:
        page = inspect(Path.cwd()).root / "inference-client"
    except RoadworthyError:
        return None
    return page if page.is_dir() else None


def _registry() -> Registry:
    from roadworthy.tracking.registry import Registry

    settings = settings_here(Path.cwd())
    return Registry.of(settings)


def _reference(version: str) -> tuple[str, str]:
    """Return ``fuel:3`` as its model and ``:3``; without a reference it is the champion."""
    for mark in ":@":
        if mark in version:
            model, _, word = version.partition(mark)
            return model, f"{mark}{word}"
    return version, "@champion"


def _headline(metrics: dict[str, float]) -> str:
    """Return a metric that is known of cross-validation and of the hold-out; the shortest name."""
    both = sorted((name for name in metrics if f"cv_{name}" in metrics), key=len)[:1]
    return ", ".join(f"{name} {metrics[name]:.4f}" for of in both for name in (f"cv_{of}", of))


if __name__ == "__main__":
    main()
