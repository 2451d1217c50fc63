"""What all tests share: the project's root, its data, and what to do without a program."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coverage
import filelock
import hypothesis
import pandas as pd
import pytest

from roadworthy.bundles import bundle, packing
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.models import fuel
from roadworthy.models.contract import Candidate, Split
from roadworthy.training import fitting
from roadworthy.training.fitting import Fitted

PARTS = Path(__file__).with_name("parts")
pytest_plugins = [f"tests.parts.{file.stem}" for file in sorted(PARTS.glob("[!_]*.py"))]

COMMIT = "4f0c" * 10
DATA_HASH = "a304afb96060aad90176268345e10355"

ROOT = Path(__file__).parents[1]

SAMPLE = Path(__file__).with_name("fixtures") / "cars.csv"
"""The sample data, whose rows tests count. The clone itself may be trained on other data."""

# A busy machine is slow; that is no failure.
hypothesis.settings.register_profile("roadworthy", deadline=None)
hypothesis.settings.load_profile("roadworthy")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Requires:
    """Skips a test that needs what is not installed; with REQUIRE_ALL=1 fails it."""

    def program(self, name: str, remedy: str) -> str:
        """Return the path of a program."""
        found = shutil.which(name)
        if found is None:
            self._missing(f"{name} is not installed: {remedy}")
        return str(found)

    def variable(self, name: str, remedy: str) -> str:
        """Return the value of an environment variable."""
        if name not in os.environ:
            self._missing(f"{name} is not set: {remedy}")
        return os.environ[name]

    def _missing(self, sentence: str) -> None:
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it in the end."""

    def rank(item: pytest.Item) -> int:
        if "stories" in item.path.parts:
            return 0
        return 1 if item.nodeid.startswith(SHARING["kube"]) else 2

    items.sort(key=rank)


SHARING = {
    "kube": (
        *("tests/deploy/test_manifests.py", "tests/deploy/test_rbac.py"),
        *("tests/doctor/test_cluster.py", "tests/rollout/actions/test_abandoned.py"),
        *("tests/rollout/kserve/", "tests/test_production.py::test_a_secret_is_filled"),
    ),
    "mlflow": (
        *("tests/stories/test_shared_parts.py", "tests/tracking/test_registry_server.py"),
        "tests/test_production.py",
    ),
}
"""The tests that one process runs, since what they share takes long to start."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, and what shares a server to one process."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((name for name, of in SHARING.items() if nodeid.startswith(of)), file)

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long the tests of each folder took, summed over the processes."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:2]).partition("::")[0]] += (
                    report.duration
                )
    if len(seconds) > 1:
        terminalreporter.section("seconds by folder")
        for folder, taken in seconds.most_common():
            terminalreporter.line(f"{taken:8.0f}  {folder}")


@contextmanager
def untraced() -> Iterator[None]:
    """Let this process run without coverage, which makes Python half as slow again."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        yield
        return
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Measure what runs when modules are imported in the first of several processes only."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        return (yield)
    with untraced():
        return (yield)


OUTSIDE = {
    *("benchmarks", "deploy", "gitlab", "inference_client", "notebooks", "stories"),
    "test_fuzz.py",
}
"""Tests that look at programs from the outside: their own process is not measured."""


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the programs that tests start run without coverage.

    Their modules have tests that call them; only the model server's run mostly in its processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "serving" not in request.path.parts:
            for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
                patch.delenv(name)
        if OUTSIDE.isdisjoint(request.path.parts):
            yield
        else:
            with untraced():
                yield


@pytest.fixture(scope="session")
def requires() -> Requires:
    return Requires()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that makes a directory once for all processes of a test run.

    ``once(name, make)`` calls ``make(directory)`` in the first process that asks for the name; the
    others wait for it. The directory is left as it was made: it is read, or copied.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        directory, done = base / "once" / name, base / "once" / f"{name}.done"
        directory.parent.mkdir(exist_ok=True)
        with filelock.FileLock(f"{directory}.lock"):
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)
                make(directory)
                done.touch()
        return directory

    return made


def version_sample(work: Path, store: Path) -> None:
    """Write the ``.dvc`` file of the sample into a work tree, and its object into a DVC remote."""
    content = SAMPLE.read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    place = store / "files" / "md5" / digest[:2] / digest[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    (work / "data.csv.dvc").write_text(
        f"outs:\n- md5: {digest}\n  size: {len(content)}\n  hash: md5\n  path: data.csv\n"
    )


@pytest.fixture(scope="session")
def raw() -> pd.DataFrame:
    return fuel.read(SAMPLE)


@pytest.fixture(scope="session")
def cars(raw: pd.DataFrame) -> pd.DataFrame:
    return fuel.prepare(fuel.schema.validate(raw)).frame


@pytest.fixture(scope="session")
def halves(cars: pd.DataFrame) -> Split:
    return fuel.split(cars)


@pytest.fixture(scope="session")
def fitted(halves: Split) -> Fitted:
    """What training gives."""
    return fitting.fit(fuel, halves.train)


@pytest.fixture(scope="session")
def pack(halves: Split) -> Callable[..., Bundle]:
    """Make the bundle of a candidate's estimator."""

    def make(target: Path, candidate: Candidate, estimator, metrics, of=halves) -> Bundle:
        return packing.pack(
            target,
            model=fuel,
            estimator=estimator,
            evaluation=fuel.evaluate(estimator, of.test),
            train=of.train,
            test=of.test,
            candidate=candidate.name,
            parameters=dict(candidate.parameters),
            metrics=metrics,
            commit=COMMIT,
            data_hash=DATA_HASH,
        )

    return make


@pytest.fixture(scope="session")
def packed(request: pytest.FixtureRequest, once) -> Bundle:
    """The bundle of the chosen candidate. Nobody changes it."""

    def make(target: Path) -> None:
        fitted, pack = request.getfixturevalue("fitted"), request.getfixturevalue("pack")
        pack(target, fitted.candidate, fitted.estimator, fitted.metrics)

    return bundle.read(once("packed", make))


@pytest.fixture(scope="session")
def simple(request: pytest.FixtureRequest, once) -> Bundle:
    """The bundle of the simplest candidate, which answers otherwise and fails the gate."""

    def make(target: Path) -> None:
        fitted, pack = request.getfixturevalue("fitted"), request.getfixturevalue("pack")
        candidate = fuel.candidates[0]
        estimator = fuel.train(candidate, request.getfixturevalue("halves").train)
        pack(target, candidate, estimator, fitted.validations[candidate.name].metrics)

    return bundle.read(once("simple", make))


@pytest.fixture(scope="session")
def empty_registry(once) -> Path:
    """An MLflow store whose tables are made, which takes seconds; it is copied, not used."""
    from roadworthy.tracking.registry import Registry

    def make(directory: Path) -> None:
        directory.mkdir()
        Registry(f"sqlite:///{directory / 'mlflow.db'}", str(directory / "artifacts")).models()

    return once("registry", make)


@pytest.fixture
def settings(tmp_path: Path, empty_registry: Path) -> Settings:
    """The settings of a home of its own, with an empty registry."""
    home = tmp_path / "home"
    shutil.copytree(empty_registry, home / "mlflow")
    return Settings(home=home, actor="tester", ready_seconds=30)


@pytest.fixture(scope="session")
def served_home(tmp_path_factory) -> Iterator[Settings]:
    """A home whose routing files a real server watches; its user deploys something first."""
    home = tmp_path_factory.mktemp("served")
    (home / "routing").mkdir()
    command = [sys.executable, "-m", "roadworthy.serving", "--routing", home / "routing"]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--poll-seconds", "0.05"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        greeting = process.stdout.readline()
        found = re.search(r"http://\S+?(?=/\s*$)", greeting)
        assert found, greeting + (home / "server.log").read_text()
        yield Settings(home=home, serving_url=found[0], ready_seconds=30, actor="tester")
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def seed(root: Path, tmp_path_factory) -> Path:
    """A bare repository with the sources and the data, and a DVC remote; to be copied."""
    directory = tmp_path_factory.mktemp("seed")
    work = directory / "work"
    for path in ("src/a.py", "components/a.py", "pipelines/a.py", "requirements/pipeline.txt"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text("# one\n")
    (work / ".dvc").mkdir()
    shutil.copyfile(root / ".dvc" / "config", work / ".dvc" / "config")
    version_sample(work, directory / "dvc")
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*who, "commit", "--quiet", "--message=Seed"),
    ):
        subprocess.run(["git", *arguments], cwd=work, check=True)
    bare = directory / "remote.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", work, bare], check=True)
    return directory


@pytest.fixture
def released_from(settings: Settings, seed: Path) -> Settings:
    """The settings of a home with a Git remote and a DVC remote of its own."""
    shutil.copytree(seed / "remote.git", settings.home / "remote.git")
    shutil.copytree(seed / "dvc", settings.home / "dvc")
    return settings.model_copy(update={"dvc_remote_url": str(settings.home / "dvc")})
