"""A pipeline run on this machine: what comes before the engine, beside it and after it.

The engine runs as a program of its own, from the code of the commit that is run, so uncommitted
changes cannot slip in. What it does is read from the records of the steps.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import filelock

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.ports import free_port
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.data.access import Access
from roadworthy.engines.local import runs
from roadworthy.models import contract
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine.state import Strategy
from roadworthy.rollout.local.server import announced
from roadworthy.steps.checkout import Source, compare, refuse_older
from roadworthy.steps.report import JSON as REPORT
from roadworthy.steps.report import write as write_report
from roadworthy.tracking import records
from roadworthy.tracking.records import Record
from roadworthy.tracking.report import Report

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10


class RunError(RoadworthyError):
    """A run cannot be started."""


@dataclass(frozen=True)
class Run:
    """A run under way.

    Parameters
    ----------
    name
        Its id, under which the steps record what they do.
    directory
        Where its log and its artifacts are.
    changes
        Uncommitted paths of the clone, which are not part of it.
    process
        The engine; None where nothing was new, and none was started.
    warnings
        Sentences for the user.
    """

    name: str
    model: str
    trigger: str
    directory: Path
    commit: str
    changes: tuple[str, ...]
    settings: Settings
    process: subprocess.Popen[bytes] | None
    warnings: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """The log file."""
        return self.directory / "log.txt"

    def watch(self) -> Iterator[list[Record]]:
        """Yield the records of the steps again and again until the run has ended."""
        while True:
            ended = self.process is None or self.process.poll() is not None
            yield records.read(self.settings.records, self.name)
            if self.process is None or ended:
                return
            try:
                self.process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def conclude(self) -> Report:
        """Return the report; written here if the run was stopped before it could."""
        written = write_report(self.settings, self.name, model=self.model, trigger=self.trigger)
        if written.records or self.process is None or self.process.poll() in (None, 0):
            return written
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        return replace(written, why=f"No step could be started: {lines[-1].strip()}")


@contextmanager
def start(
    settings: Settings,
    directory: Path,
    model: str,
    *,
    trigger: str,
    force: bool,
    strategy: Strategy = "canary",
    candidate: str = "",
    confirm: Callable[[str], bool] = bool,
) -> Iterator[Run]:
    """Start a run of the clone that a directory is in; it is stopped when the block ends.

    Parameters
    ----------
    confirm
        Called with a sentence if the commit lacks what the champion was made of; returns whether to
        run it all the same.

    Raises
    ------
    RunError
        Another run of the model is under way, or the commit has no pipeline for it.
    GitError
        The directory is in no clone that can be run.
    """
    Access.of(settings)  # what it refuses is to be written nowhere
    clone = git.inspect(directory)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        stack.enter_context(_alone(settings, model, name))
        if settings.embedded_remote is not None:
            git.publish(clone, settings.embedded_remote, settings.git_branch)
        code = git.export(clone.root, clone.commit, settings.home / "code")
        package = code / "pipelines" / f"{model}.yaml"
        if not package.exists():
            raise RunError(
                f"The commit {clone.commit[:12]} has no pipelines/{model}.yaml: compile it with "
                f"`roadworthy compile {model}` and commit it."
            )
        source = _source(settings, clone, model)
        is_new = source is None or source.new or force or bool(candidate)
        if is_new and source is not None and source.behind:
            refuse_older(settings, source)
            if not confirm(source.behind):
                raise RunError("Nothing was run. Run a commit that contains the champion's.")
        target = runs.directory(settings, name)
        target.mkdir(parents=True)
        _conclude_earlier(settings, model)
        runs.note(settings, runs.Noted(name, model, trigger))
        warnings = _warnings(clone, model)
        started = Run(
            name, model, trigger, target, clone.commit, clone.changes, settings, None, warnings
        )
        started.log.touch()
        if source is not None and not is_new:
            with records.step(settings.records, name, "checkout") as record:
                record.summary, record.details = str(source), asdict(source)
            yield started
            return
        settings, serve = _with_server(settings)
        (target / "tmp").mkdir()
        stack.callback(shutil.rmtree, target / "tmp", ignore_errors=True)
        steps = settings.model_copy(update={"run": name})
        environment = _environment(steps, code) | {"TMPDIR": str(target / "tmp")}
        arguments = {"commit": clone.commit, "trigger": trigger, "force": force}
        arguments |= {"strategy": strategy} if strategy != "canary" else {}
        arguments |= {"candidate": candidate} if candidate else {}
        command: list[str | Path] = [package, target / "artifacts", json.dumps(arguments)]
        with started.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.local", *command],
                cwd=code,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        stack.callback(_stop, process)
        if serve:
            server = _start_server(settings, process)
            stack.callback(_stop, server)
        yield replace(started, settings=settings, process=process)


@contextmanager
def _alone(settings: Settings, model: str, name: str) -> Iterator[None]:
    """Hold the model's lock, which the operating system gives back when this process dies."""
    settings.make_home()
    try:
        held = filelock.FileLock(settings.home / f"{model}.lock", timeout=0).acquire()
    except filelock.Timeout as error:
        raise RunError(
            f"Another run of {model} is under way in {settings.home}{_holder(settings, model)}"
        ) from error
    with held:
        runs.hold(settings, model, name)
        yield


def _warnings(clone: git.Clone, model: str) -> tuple[str, ...]:
    """Return what the user must know of the data in the work tree."""
    pointer = contract.load(model).data if model in contract.available() else ""
    return dvc.warnings(clone.root, pointer) if (clone.root / pointer).is_file() else ()


def _source(settings: Settings, clone: git.Clone, model: str) -> Source | None:
    """Return what a run of the clone is made of; None where only its first step can tell."""
    if model not in contract.available():
        return None
    pointer = contract.load(model).data
    if pointer in clone.changes or not (clone.root / pointer).is_file():
        return None
    data_hash = dvc.content_hash(clone.root / pointer)
    served = targets.target(settings)
    return compare(settings, served, model, clone.root, clone.commit, data_hash)


def _holder(settings: Settings, model: str) -> str:
    """Return which run holds the lock, and what to do about it."""
    facts = runs.held(settings, model)
    if not facts:
        return ": wait for it, or stop it."
    host, process, _ = facts["holder"].split(":")
    return (
        f": run {facts['run']}, since {facts['started']}, process {process} on {host}. Wait for "
        f"it, or stop it with `kill {process}`."
    )


def _conclude_earlier(settings: Settings, model: str) -> None:
    """Write the reports of earlier runs of a model that were killed before they could."""
    for run in runs.noted(settings, model):
        if records.get(settings.records, run.name, REPORT) is None:
            write_report(settings, run.name, model=model, trigger=run.trigger)


def _with_server(settings: Settings) -> tuple[Settings, bool]:
    """Return the settings with the server to roll out to, and whether it must be started."""
    if settings.target != "local" or "serving_url" in settings.model_fields_set:
        return settings, False
    url = announced(settings.home)
    if url:
        return settings.model_copy(update={"serving_url": url}), False
    url = f"http://127.0.0.1:{free_port()}"
    return settings.model_copy(update={"serving_url": url}), True


def _start_server(settings: Settings, engine: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Start a model server for the time of the run, in the engine's process group.

    It runs the code at hand, as ``roadworthy serve`` does, not that of the commit.
    """
    settings.routing.mkdir(parents=True, exist_ok=True)
    port = settings.serving_url.rpartition(":")[2]
    routing = str(settings.routing)
    options = ["--routing", routing, "--port", port, "--with-parent"]
    command = [sys.executable, "-m", "roadworthy.serving", *options]
    with (settings.home / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=engine.pid,
        )


def _environment(settings: Settings, code: Path) -> dict[str, str]:
    """Return the environment of a process that runs the code of the commit."""
    path = [str(code / "src"), str(code), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        **settings.environment(),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process; if it leads a group, all that it started too."""
    leads = process.poll() is not None or os.getpgid(process.pid) == process.pid
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if leads:
        # A step outlives its engine, and may have chosen to ignore the signal.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
