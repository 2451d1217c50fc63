"""What an answer costs, ours and others': ``python benchmarks/serving.py``, in a clone.

Every server runs in an environment of its own, made from its lock file in ``benchmarks/servers/``
and kept in ``.roadworthy/benchmarks/``. All answer whole cars from one bundle of the fuel model:
ours from its ONNX graph, with validation, metrics, V1 and V2 on; the others from its joblib, each
the way its own documentation loads a scikit-learn model. One that does not answer the bundle's
golden requests as the bundle says is told and not measured.

The load is wrk's (``apt-get install wrk``), one thread of it that waits for each answer before it
asks again. In every round each other server takes a slot right beside one of ours, in turns before
and after it; a ratio is the median over those pairs, so a machine whose speed drifts does not
matter. The tables, and the bars that our server is to clear, are printed and written to
``benchmarks/results/serving.md``, every slot to ``serving.json`` beside it. ``--quick`` is a smoke
run of some two minutes that writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from roadworthy.bundles import bundle
from roadworthy.data import dvc

ROOT = Path(__file__).parents[1]
SERVERS = ROOT / "benchmarks" / "servers"
CACHE = ROOT / ".roadworthy" / "benchmarks"
RESULT = ROOT / "benchmarks" / "results" / "serving"
OURS = "Roadworthy, V1"
V2 = "Roadworthy, V2"
STOCK = "KServe, stock"
KINDS = ((1, 1), (32, 1), (1, 100), (32, 100))
"""Connections, and rows a request."""
TOLERANCE = 1e-6
"""How far an answer may be from the golden one, relatively."""
START_SECONDS = 90

Row = dict[str, Any]


class ContenderError(Exception):
    """A server does not start, answers wrongly or fails requests."""


@dataclass(frozen=True)
class Contender:
    """A server: how it starts, how it is asked and how it answers.

    Parameters
    ----------
    name
        What it is called in the tables.
    told
        Its packages, with their versions.
    path
        Where it answers.
    asks, answers
        From rows to the JSON of a request, and from the JSON of an answer to rows.
    command, variables
        How it starts; each ``PORT`` in them is a port that is free, another for each digit after.
    """

    name: str
    told: str
    path: str
    asks: Callable[[list[Row]], Any]
    answers: Callable[[Any], list[Row]]
    command: list[str]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Started:
    """A server that runs: its process, where it answers, and the seconds to its first answer."""

    process: subprocess.Popen[bytes]
    port: int
    first: float


@dataclass(frozen=True)
class Slot:
    """What wrk found: requests a second, and milliseconds."""

    rate: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Pair:
    """Two slots side by side."""

    ours: Slot
    theirs: Slot


@dataclass
class Found:
    """What was found of a server.

    Attributes
    ----------
    pairs
        By connections and rows; empty for our own V1.
    first
        The seconds to the first answer, of each start.
    resident
        The MB of each of its processes, after the load.
    why
        Why it is not measured, if it is not.
    """

    name: str
    told: str
    pairs: dict[tuple[int, int], list[Pair]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True)
class Bar:
    """A figure that our server is to reach."""

    what: str
    figure: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it does."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def main() -> None:
    """Measure and print."""
    options = _options()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    about = _about(options.rounds, options.seconds)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        place = Path(scratch)
        model = _made_bundle(place / "bundle")
        makers = _contenders(model.path, place, options.workers)
        chosen = {name: makers[name] for name in makers if name in options.only}
        found = _measured(chosen, model.golden, options, place)
    lines = report(found, about)
    print("\n".join(lines))
    if not options.quick:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.with_suffix(".md").write_text("\n".join(lines) + "\n")
        RESULT.with_suffix(".json").write_text(json.dumps(document(found, about), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare our model server with others.")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of slots (%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a slot (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="starts of each (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="ours with so many as well")
    parser.add_argument("--quick", action="store_true", help="one round of slots of one second")
    names = ("ours", "workers", "kserve", "mlserver", "mlflow", "bentoml", "fastapi")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(names),
        help=f"some of {','.join(names)}; ours is always measured, by V1 and V2",
    )
    options = parser.parse_args()
    if strange := set(options.only) - set(names):
        parser.error(f"there is no {', '.join(sorted(strange))}")
    options.only = {"ours", "v2", *options.only}
    if options.quick:
        options.rounds = options.seconds = options.starts = 1
    return options


def _made_bundle(target: Path) -> bundle.Bundle:
    """Return the bundle that the pipeline makes of this commit's data."""
    data = ROOT / "data.csv"
    if not data.exists():
        command = [sys.executable, "-m", "dvc", "pull", "--quiet", "data.csv.dvc"]
        subprocess.run(command, cwd=ROOT, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    known = dvc.content_hash(ROOT / "data.csv.dvc")
    command = [sys.executable, "-m", "roadworthy.training.rebuild", "fuel"]
    subprocess.run(
        [*command, data, target, commit, known], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return bundle.read(target)


def _contenders(model: Path, place: Path, workers: int) -> dict[str, Callable[[], Contender]]:
    """Return how each contender is made, which installs what it needs."""
    estimator = str(model / bundle.ESTIMATOR)
    packages = ("roadworthy", "kserve", "onnxruntime", "uvicorn")
    told = ", ".join(f"{name} {version(name)}" for name in packages)
    ours = [sys.executable, "-m", "roadworthy.serving", "--bundle", str(model), "--version", "1"]
    ours += ["--port", "PORT"]
    v1, v2 = "/v1/models/fuel:predict", "/v2/models/fuel/infer"

    def kserve() -> Contender:
        home = _environment("stock_kserve")
        script = str(SERVERS / "stock_kserve.py")
        return Contender(
            STOCK,
            _locked("stock_kserve", "kserve", "scikit-learn", "uvicorn"),
            v1,
            asks_v1,
            answers_v1,
            [str(home / "bin" / "python"), script, estimator, "PORT", "PORT1"],
            _variables(home),
        )

    def mlserver() -> Contender:
        home = _environment("mlserver")
        settings = {
            "name": "fuel",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": estimator},
        }
        (place / "mlserver").mkdir(exist_ok=True)
        (place / "mlserver" / "model-settings.json").write_text(json.dumps(settings))
        ports = {"HTTP_PORT": "PORT", "GRPC_PORT": "PORT1", "METRICS_PORT": "PORT2"}
        said = {"HOST": "127.0.0.1", "PARALLEL_WORKERS": "0", **ports}
        return Contender(
            "MLServer",
            _locked("mlserver", "mlserver", "scikit-learn", "uvicorn"),
            v2,
            asks_mlserver,
            answers_v2,
            [str(home / "bin" / "mlserver"), "start", str(place / "mlserver")],
            _variables(home) | {f"MLSERVER_{name}": value for name, value in said.items()},
        )

    def mlflow() -> Contender:
        home = _environment("mlflow")
        python, saved = str(home / "bin" / "python"), place / "mlflow"
        if not saved.exists():
            command = [python, str(SERVERS / "mlflow_model.py"), estimator, str(saved)]
            subprocess.run(command, check=True, env=_variables(home), capture_output=True)
        command = [python, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
        command += ["--model-uri", str(saved), "--port", "PORT", "--workers", "1"]
        return Contender(
            "mlflow models serve",
            _locked("mlflow", "mlflow", "scikit-learn", "uvicorn"),
            "/invocations",
            lambda rows: {"dataframe_records": rows},
            answers_v1,
            command,
            _variables(home),
        )

    def bentoml() -> Contender:
        home = _environment("bentoml")
        command = [str(home / "bin" / "python"), "-m", "bentoml", "serve", "bento_service:Fuel"]
        return Contender(
            "BentoML",
            _locked("bentoml", "bentoml", "scikit-learn", "uvicorn"),
            "/predict",
            asks_v1,
            list,
            [*command, "--host", "127.0.0.1", "--port", "PORT"],
            _variables(home) | {"MODEL": estimator, "BENTOML_DO_NOT_TRACK": "True"},
        )

    def fastapi() -> Contender:
        home = _environment("plain_fastapi")
        script = str(SERVERS / "plain_fastapi.py")
        return Contender(
            "FastAPI, plain",
            _locked("plain_fastapi", "fastapi", "scikit-learn", "uvicorn"),
            "/predict",
            asks_v1,
            answers_v1,
            [str(home / "bin" / "python"), script, estimator, "PORT"],
            _variables(home),
        )

    # as under the supervisor of `roadworthy serve`, so that the figures outlive a process
    figures = place / "figures"
    figures.mkdir()
    own = _environ() | {"PROMETHEUS_MULTIPROC_DIR": str(figures)}
    made: dict[str, Callable[[], Contender]] = {
        "ours": lambda: Contender(OURS, told, v1, asks_v1, answers_v1, ours, own),
        "v2": lambda: Contender(V2, told, v2, asks_v2, answers_v2, ours, own),
    }
    if workers:
        more, name = [*ours, "--workers", str(workers)], f"{OURS}, {workers} workers"
        made["workers"] = lambda: Contender(name, told, v1, asks_v1, answers_v1, more, own)
    return made | {
        "kserve": kserve,
        "mlserver": mlserver,
        "mlflow": mlflow,
        "bentoml": bentoml,
        "fastapi": fastapi,
    }


def asks_v1(rows: list[Row]) -> Any:
    """Return a request of KServe's V1 protocol."""
    return {"instances": rows}


def answers_v1(answer: Any) -> list[Row]:
    """Return the rows of an answer of KServe's V1 protocol."""
    rows: list[Row] = answer["predictions"]
    return rows


def asks_v2(rows: list[Row]) -> Any:
    """Return a request of the V2 protocol: one tensor per field."""
    kinds = {float: "FP64", int: "INT64", str: "BYTES"}
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(rows)],
                "datatype": kinds[type(rows[0][name])],
                "data": [row[name] for row in rows],
            }
            for name in rows[0]
        ]
    }


def asks_mlserver(rows: list[Row]) -> Any:
    """Return the same, told to MLServer as a frame with columns of text, not of bytes."""
    request = asks_v2(rows)
    for tensor in request["inputs"]:
        if tensor["datatype"] == "BYTES":
            tensor["parameters"] = {"content_type": "str"}
    return request | {"parameters": {"content_type": "pd"}}


def answers_v2(answer: Any) -> list[Row]:
    """Return the rows of an answer of the V2 protocol."""
    columns = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def check_answers(found: Sequence[Row], expected: Sequence[Row]) -> None:
    """Compare answers with golden ones.

    Raises
    ------
    ContenderError
        There are more or fewer, or one is another.
    """
    if len(found) != len(expected):
        raise ContenderError(f"answers {len(found)} rows to {len(expected)}")
    for number, (row, golden) in enumerate(zip(found, expected, strict=True)):
        for name, value in golden.items():
            said = row.get(name)
            if not isinstance(said, float) or abs(said - value) > TOLERANCE * abs(value):
                raise ContenderError(
                    f"answers {said} as {name} of golden row {number}, not {value}"
                )


def _environment(name: str) -> Path:
    """Return an environment, which is made from its lock file if need be."""
    lock = SERVERS / f"{name}.txt"
    home = CACHE / f"{name}-{sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (home / ".installed").exists():
        _say(f"Installing {name} ...")
        uv = str(Path(sys.executable).parent / "uv")
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True)
        python = str(home / "bin" / "python")
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        subprocess.run([*install, "--require-hashes", "--requirement", lock], check=True)
        (home / ".installed").touch()
    return home


def _variables(home: Path) -> dict[str, str]:
    """Return the variables of a program that finds its environment's and the model's code."""
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**_environ(), "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def _environ() -> dict[str, str]:
    """Return our variables, without the one that makes every start compile every module."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _locked(lock: str, *packages: str) -> str:
    return ", ".join(
        f"{package} {locked_version((SERVERS / f'{lock}.txt').read_text(), package)}"
        for package in packages
    )


def locked_version(lock: str, package: str) -> str:
    """Return the version of a package in the text of a lock file."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
    if found is None:
        raise ValueError(f"the lock file has no {package}")
    return found[1]


def _measured(
    makers: Mapping[str, Callable[[], Contender]],
    golden: bundle.Golden,
    options: argparse.Namespace,
    place: Path,
) -> list[Found]:
    """Return what is found of each contender, ours first."""
    whole = [
        (request, answer)
        for request, answer in zip(golden.requests, golden.answers, strict=True)
        if len(request) == max(map(len, golden.requests))
    ]
    rows, expected = [request for request, _ in whole], [answer for _, answer in whole]
    contenders = {name: make() for name, make in makers.items()}
    found = {name: Found(one.name, one.told) for name, one in contenders.items()}
    for _ in range(options.starts - 1):
        for name, one in contenders.items():
            with _told(found[name]), _running(one, rows[:1], place) as started:
                found[name].first.append(started.first)
    with ExitStack() as stack:
        running = {}
        for name, one in contenders.items():
            with _told(found[name]):
                started = stack.enter_context(_running(one, rows[:1], place))
                check_answers(one.answers(_asked(started.port, one, rows)), expected)
                found[name].first.append(started.first)
                running[name] = started
        if found["ours"].why:
            sys.exit(f"Our own server {found['ours'].why}")
        batches = {size: list(islice(cycle(rows), size)) for _, size in KINDS}
        _load(contenders, running, batches, found, options, place)
        for name, started in running.items():
            if not found[name].why:
                found[name].resident = _resident(started.process.pid)
    return list(found.values())


@contextmanager
def _told(found: Found) -> Iterator[None]:
    """Keep why a contender is not measured, and go on with the others."""
    try:
        yield
    except ContenderError as error:
        found.why = str(error)
        _say(f"{found.name} {error}")


def _load(
    contenders: Mapping[str, Contender],
    running: Mapping[str, Started],
    batches: Mapping[int, list[Row]],
    found: Mapping[str, Found],
    options: argparse.Namespace,
    place: Path,
) -> None:
    """Put every contender under load beside ours, pair by pair."""

    def take(name: str, kind: tuple[int, int], seconds: int) -> Slot:
        one = contenders[name]
        url = f"http://127.0.0.1:{running[name].port}{one.path}"
        body = json.dumps(one.asks(batches[kind[1]]))
        try:
            return _wrk(url, body, kind[0], seconds, place / "post.lua")
        except ContenderError as error:
            if name == "ours":
                sys.exit(f"Our own server {error}")
            raise

    for name in running:
        with _told(found[name]):
            take(name, (32, 1), 1)
    for number in range(options.rounds):
        for kind in KINDS:
            for name in running:
                if name == "ours" or found[name].why:
                    continue
                order = ("ours", name) if number % 2 == 0 else (name, "ours")
                with _told(found[name]):
                    taken = {who: take(who, kind, options.seconds) for who in order}
                    pair = Pair(taken["ours"], taken[name])
                    found[name].pairs.setdefault(kind, []).append(pair)
        _say(f"Round {number + 1} of {options.rounds}")


@contextmanager
def _running(contender: Contender, rows: list[Row], place: Path) -> Iterator[Started]:
    """Give a server that has answered once, and stop it and all of its processes."""
    ports = {f"PORT{number or ''}": str(port) for number, port in enumerate(_free_ports(3))}
    variables = {name: ports.get(value, value) for name, value in contender.variables.items()}
    log = place / "server.log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ports.get(word, word) for word in contender.command],
            cwd=SERVERS,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        port = int(ports["PORT"])
        while not _answers(port, contender, rows):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                last = log.read_text(errors="replace").strip()[-500:]
                raise ContenderError(f"does not answer. Its log ends: {last}")
            time.sleep(0.01)
        yield Started(process, port, time.monotonic() - began)
    finally:
        _stop(process)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [taken.getsockname()[1] for taken in sockets]


def _answers(port: int, contender: Contender, rows: list[Row]) -> bool:
    try:
        _asked(port, contender, rows)
    except (OSError, HTTPException, ContenderError):
        return False
    return True


def _asked(port: int, contender: Contender, rows: list[Row]) -> Any:
    """Return the JSON of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = json.dumps(contender.asks(rows))
        connection.request("POST", contender.path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ContenderError(f"answers {answer.status}: {text[:300].decode(errors='replace')}")
    return json.loads(text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    # what it started and left behind is in its group still
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _wrk(url: str, body: str, connections: int, seconds: int, script: Path) -> Slot:
    script.write_text(_LUA.replace("BODY", body))
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s", "--script", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return slot(done.stdout + done.stderr)


_LUA = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [==[BODY]==]
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("FOUND %d %d %d %.1f %.1f\\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
"""


def slot(printed: str) -> Slot:
    """Return what wrk printed: requests, microseconds, failures, and two percentiles.

    Raises
    ------
    ContenderError
        There is no answer at all, or a request failed.
    """
    numbers = re.search(r"^FOUND (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)$", printed, re.MULTILINE)
    if numbers is None or not int(numbers[1]):
        raise ContenderError(f"does not answer under load: {printed.strip()[-300:]}")
    requests, microseconds, failed = (int(numbers[index]) for index in (1, 2, 3))
    if failed:
        raise ContenderError(f"fails {failed} of {requests} requests under load")
    p50, p99 = (float(numbers[index]) / 1e3 for index in (4, 5))
    return Slot(requests / microseconds * 1e6, p50, p99)


def _resident(pid: int) -> list[float]:
    """Return the resident memory of a process and of all below it, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    own = re.search(r"VmRSS:\s+(\d+)", status)
    below = [size for child in children for size in _resident(int(child))]
    return [int(own[1]) * 1024 / 1e6, *below] if own else below


def _about(rounds: int, seconds: int) -> dict[str, Any]:
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "rounds": rounds,
        "seconds": seconds,
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "wrk": " ".join(wrk.stdout.split()[:2]),
    }


def median(pairs: Sequence[Pair], figure: Callable[[Pair], float]) -> float:
    """Return the median of a figure of pairs of slots."""
    return statistics.median(map(figure, pairs))


def bars(found: Sequence[Found]) -> list[Bar]:
    """Return the bars that the measured contenders allow to judge."""
    by_name = {one.name: one for one in found if not one.why}
    judged = []
    if stock := by_name.get(STOCK):
        one, many, batch = (stock.pairs[kind] for kind in ((1, 1), (32, 1), (32, 100)))
        times = "times stock KServe's requests per second"
        judged += [
            Bar(f"one row, 32 connections: {times}", median(many, rate), 6, at_least=True),
            Bar(
                "one row, 32 connections: p99, as a share of stock KServe's",
                median(many, lambda pair: pair.ours.p99 / pair.theirs.p99),
                1 / 5,
            ),
            Bar(f"100 rows, 32 connections: {times}", median(batch, rate), 5, at_least=True),
            Bar(
                "one row, 1 connection: p50, as a share of stock KServe's",
                median(one, lambda pair: pair.ours.p50 / pair.theirs.p50),
                1 / 3,
            ),
        ]
    if v2 := by_name.get(V2):
        judged += [
            Bar(f"one row, {_connections(kind[0])}: V1 to V2", median(v2.pairs[kind], rate), 1.5)
            for kind in ((1, 1), (32, 1))
        ]
    ours = by_name[OURS]
    return [
        *judged,
        Bar("first answer, s after the start", statistics.median(ours.first), 2.5),
        Bar("resident after the load, MB a process", max(ours.resident), 175),
    ]


def rate(pair: Pair) -> float:
    """Return our requests per second as a multiple of the other's."""
    return pair.ours.rate / pair.theirs.rate


def report(found: Sequence[Found], about: Mapping[str, Any]) -> list[str]:
    """Return the lines of the tables, in Markdown.

    Parameters
    ----------
    found
        What was found, our V1 first.
    about
        The day, the machine, and how long was measured.
    """
    measured = [one for one in found if not one.why]
    kinds = [kind for kind in KINDS if any(kind in one.pairs for one in measured)]
    return [
        f"{about['date']}, {about['cpu']}, {about['cores']} cores (load average {about['load']} "
        f"before), Python {about['python']}, {about['wrk']} with one thread. Every figure is the "
        f"median of {about['rounds']} slots of {about['seconds']} s; a ratio is our requests per "
        f"second by V1 to the other's, the median of as many pairs of slots side by side.",
        *(line for kind in kinds for line in _speeds(measured, kind)),
        "",
        "| server | versions | first answer, s | resident, MB | processes |",
        "| --- | --- | ---: | ---: | ---: |",
        *(
            f"| {one.name} | {one.told} | {statistics.median(one.first):.2f} "
            f"| {sum(one.resident):.0f} | {len(one.resident)} |"
            for one in measured
        ),
        "",
        "| our server, by V1 where not said | bar | found | |",
        "| --- | ---: | ---: | --- |",
        *(
            f"| {bar.what} | {'≥' if bar.at_least else '≤'} {bar.bound:.3g} | {bar.figure:.3g} "
            f"| {'met' if bar.met else '**missed**'} |"
            for bar in bars(found)
        ),
        *(f"\nNot measured: {one.name} {one.why}" for one in found if one.why),
    ]


def _speeds(measured: Sequence[Found], kind: tuple[int, int]) -> list[str]:
    """Return the table of one kind of request; our V1 is measured beside every other."""
    connections, rows = kind
    others = [one for one in measured if kind in one.pairs]
    ours = [pair.ours for one in others for pair in one.pairs[kind]]
    lines = [_speed(measured[0].name, ours, 1)]
    for one in others:
        pairs = one.pairs[kind]
        lines.append(_speed(one.name, [pair.theirs for pair in pairs], median(pairs, rate)))
    return [
        "",
        f"{'1 row' if rows == 1 else f'{rows} rows'} a request, {_connections(connections)}:",
        "",
        "| server | requests/s | ratio | p50, ms | p99, ms |",
        "| --- | ---: | ---: | ---: | ---: |",
        *lines,
    ]


def _speed(name: str, slots: Sequence[Slot], ratio: float) -> str:
    rate = statistics.median(slot.rate for slot in slots)
    p50 = statistics.median(slot.p50 for slot in slots)
    p99 = statistics.median(slot.p99 for slot in slots)
    return f"| {name} | {rate:.0f} | {ratio:.2f} | {p50:.2f} | {p99:.2f} |"


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def document(found: Sequence[Found], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure."""
    servers = [
        asdict(one)
        | {
            "pairs": [
                {"connections": connections, "rows": rows, **asdict(pair)}
                for (connections, rows), pairs in one.pairs.items()
                for pair in pairs
            ]
        }
        for one in found
    ]
    judged = [asdict(bar) | {"met": bar.met} for bar in bars(found)]
    return {**about, "servers": servers, "bars": judged}


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
