"""What a run costs, ours and others': ``python benchmarks/pipeline.py [--rounds 3]``, in a clone.

Each contender does the same work from the same data: validate, prepare, train the same candidates,
evaluate, gate against the champion, log a version to MLflow. Ours is ``roadworthy run fuel
--force``, which also checks the commit out, pushes bundle and tag, and rolls the version out. The
others are Metaflow, ZenML, Kedro and ``dvc repro``: ``benchmarks/peers/`` has their orchestration,
as their own documentation writes it, around the functions of ``work.py``. Each runs in an
environment of its own, made from its lock file there and kept in the machine's temporary directory.

Every contender runs once before it is measured, so that everything is warm and there is a champion
to compare with. Then each round runs all of them, one after another; a ratio is the median over the
rounds, so a machine whose speed drifts does not matter. On a machine that does other work, too,
read the ratios and the CPU time. The tables are printed and written to
``benchmarks/results/pipeline.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
RESULT = ROOT / "benchmarks" / "results" / "pipeline.md"
CACHE = Path(tempfile.gettempdir()) / "peers"
OURS = "Roadworthy"


@dataclass(frozen=True)
class Peer:
    """Another orchestrator, and how it runs in a directory of its own.

    Parameters
    ----------
    lock
        Its lock file, without the suffix; the package of that name is the orchestrator.
    command
        What runs it, after the ``bin`` directory of its environment.
    files
        What is copied from ``benchmarks/peers/`` into its directory.
    setup
        What is run once in its directory.
    variables
        Its settings; ``HOME`` in them is its directory.
    """

    name: str
    lock: str
    command: Sequence[str]
    files: Sequence[str]
    setup: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


PEERS_BY_NAME = [
    Peer(
        "Metaflow",
        "metaflow",
        ["python", "metaflow_flow.py", "--quiet", "run", "--data", "data.csv"],
        ["metaflow_flow.py"],
        variables={"METAFLOW_HOME": "HOME/.metaflow", "METAFLOW_USER": "benchmark"},
    ),
    Peer(
        "ZenML",
        "zenml",
        ["python", "zenml_pipeline.py", "data.csv"],
        ["zenml_pipeline.py"],
        variables={
            "ZENML_CONFIG_PATH": "HOME/.zenml",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "AUTO_OPEN_DASHBOARD": "false",
        },
    ),
    Peer(
        "Kedro",
        "kedro",
        ["kedro", "run"],
        ["kedro_project"],
        variables={"DO_NOT_TRACK": "1"},
    ),
    Peer(
        "dvc repro",
        "dvc",
        ["dvc", "repro", "--quiet", "--force"],
        ["dvc.yaml", "dvc_stages.py"],
        setup=["dvc", "init", "--quiet", "--no-scm"],
        variables={"DVC_NO_ANALYTICS": "1"},
    ),
]


class ContenderError(Exception):
    """A contender cannot be installed, or its run fails."""


@dataclass(frozen=True)
class Run:
    """What one run took: seconds by the clock, and of CPU time in user and system."""

    wall: float
    cpu: float


@dataclass
class Found:
    """What was found of a contender: its runs, or why it was not measured."""

    name: str
    version: str
    runs: list[Run] = field(default_factory=list)
    why: str = ""


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        ours = Clone(Path(scratch) / "clone")
        contenders: dict[str, Callable[[], Run]] = {OURS: ours.run}
        found = {OURS: Found(OURS, "this commit")}
        for peer in PEERS_BY_NAME:
            found[peer.name] = Found(peer.name, locked(peer.lock))
            try:
                contenders[peer.name] = _installed(peer, Path(scratch) / peer.lock, ours)
                contenders[peer.name]()
            except ContenderError as error:
                contenders.pop(peer.name, None)
                found[peer.name].why = str(error)
        for _ in range(options.rounds):
            for name, run in contenders.items():
                found[name].runs.append(run())
        lines = [
            f"{options.rounds} rounds of warm runs on {os.cpu_count()} cores "
            f"({platform.machine()}), Python {platform.python_version()}, load "
            f"{os.getloadavg()[1]:.0f}. Made by `python benchmarks/pipeline.py`.",
            "",
            *report(list(found.values())),
            "",
            *ours.report(),
        ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare a run of ours with other orchestrators.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (%(default)s)")
    return parser.parse_args()


def report(found: Sequence[Found]) -> Iterator[str]:
    """Yield the table of the contenders: medians, and ours as a multiple of each."""
    yield "| contender | version | wall, s | ours, times | CPU, s | ours, times |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    ours = found[0]
    for one in found:
        if one.why:
            yield f"| {one.name} | {one.version} | not measured: {one.why} | | | |"
            continue
        walls, cpus = [run.wall for run in one.runs], [run.cpu for run in one.runs]
        pairs = list(zip(ours.runs, one.runs, strict=True))
        wall = statistics.median(mine.wall / theirs.wall for mine, theirs in pairs)
        cpu = statistics.median(mine.cpu / theirs.cpu for mine, theirs in pairs)
        yield (
            f"| {one.name} | {one.version} | {statistics.median(walls):.1f} | {wall:.2f} "
            f"| {statistics.median(cpus):.1f} | {cpu:.2f} |"
        )


class Clone:
    """A fresh clone of the project that has run once."""

    def __init__(self, path: Path) -> None:
        """Clone, and run once."""
        self.path = path
        self.steps: list[dict[str, tuple[float, float]]] = []
        subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", path], check=True)
        self.run()
        self.steps.clear()

    def run(self) -> Run:
        """Run the pipeline, and keep what each step took: the time before it, and its own."""
        command = [sys.executable, "-m", "roadworthy", "run", "fuel", "--force", "--json"]
        started = time.time()
        run, told = timed(command, self.path, _environ())
        ended, steps = started, {}
        for record in json.loads(told)["steps"]:
            begun = datetime.fromisoformat(record["started"]).timestamp()
            steps[record["step"]] = (begun - ended, record["seconds"])
            ended = begun + record["seconds"]
        self.steps.append(steps)
        return run

    def report(self) -> Iterator[str]:
        """Yield the table of the steps, by their medians."""
        yield "| step | before it, s | own work, s |"
        yield "| --- | ---: | ---: |"
        for step in self.steps[0]:
            before, own = zip(*(steps[step] for steps in self.steps), strict=True)
            yield f"| {step} | {statistics.median(before):.2f} | {statistics.median(own):.2f} |"


def _installed(peer: Peer, home: Path, clone: Clone) -> Callable[[], Run]:
    """Return what runs a peer in a directory of its own, with the data of the clone."""
    binaries = _environment(peer.lock) / "bin"
    home.mkdir()
    for name in peer.files:
        source = PEERS / name
        if source.is_dir():
            shutil.copytree(source, home, dirs_exist_ok=True)
        else:
            shutil.copy(source, home)
    shutil.copy(ROOT / "data.csv", home)
    variables = _environ() | {
        **{name: value.replace("HOME", str(home)) for name, value in peer.variables.items()},
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(PEERS), str(clone.path / "src")]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if peer.setup:
        timed([str(binaries / peer.setup[0]), *peer.setup[1:]], home, variables)
    command = [str(binaries / peer.command[0]), *peer.command[1:]]
    return lambda: timed(command, home, variables)[0]


def _environment(lock: str) -> Path:
    """Return an environment, which is made from its lock file if need be."""
    file = PEERS / f"{lock}.txt"
    home = CACHE / f"{lock}-{sha256(file.read_bytes()).hexdigest()[:12]}"
    if not (home / ".installed").exists():
        uv = str(Path(sys.executable).parent / "uv")
        shutil.rmtree(home, ignore_errors=True)
        timed([uv, "venv", "--quiet", "--python", sys.executable, str(home)], ROOT, _environ())
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--require-hashes"]
        target = ["--python", str(home / "bin" / "python"), "--requirement", str(file)]
        timed([*install, *target], ROOT, _environ())
        (home / ".installed").touch()
    return home


def locked(lock: str) -> str:
    """Return the version of the orchestrator in a lock file."""
    lines = (PEERS / f"{lock}.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{lock}=="))[len(lock) + 2 :].split()[0]


def _environ() -> dict[str, str]:
    """Return our variables, without the one that makes every start compile every module."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(command: Sequence[str], place: Path, variables: Mapping[str, str]) -> tuple[Run, str]:
    """Run a command; return what it took, with all that it started, and what it printed.

    Raises
    ------
    ContenderError
        It failed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=place, env=variables, stdout=output, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        told = output.read().decode()
        if process.returncode:
            last = (errors.read().decode().strip() or told.strip()).splitlines()[-1:]
            raise ContenderError(f"{Path(command[0]).name} failed: {' '.join(last)}")
    return Run(wall, used.ru_utime + used.ru_stime), told


if __name__ == "__main__":
    main()
