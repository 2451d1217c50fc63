"""What all tests share: the project's root, its data, and what to do without a program."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pandas as pd
import pytest

from roadworthy.bundles import packing
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

# A busy machine is slow; that is no failure.
hypothesis.settings.register_profile("roadworthy", deadline=None)
hypothesis.settings.load_profile("roadworthy")


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
    """Begin with the stories, the longest, so that no process is left with one in the end."""
    items.sort(key=lambda item: "stories" not in item.path.parts)


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the programs that tests start run without coverage, which costs them half as much again.

    Their modules have tests that call them; only the model server's run mostly in its processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "serving" not in request.path.parts:
            for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def requires() -> Requires:
    return Requires()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def installed_models(tmp_path_factory) -> Iterator[Path]:
    """A directory into which the models for tests are installed, on the path of this process."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    source = ROOT / "tests" / "models_for_tests"
    subprocess.run([*command, "--no-build-isolation", "--target", target, source], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(target)
        yield target


@pytest.fixture(scope="session")
def raw(root: Path) -> pd.DataFrame:
    return fuel.read(root / "data.csv")


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
def packed(fitted: Fitted, pack, tmp_path_factory) -> Bundle:
    """The bundle of the chosen candidate. Nobody changes it."""
    target = tmp_path_factory.mktemp("packed") / "bundle"
    return pack(target, fitted.candidate, fitted.estimator, fitted.metrics)


@pytest.fixture(scope="session")
def simple(fitted: Fitted, halves: Split, pack, tmp_path_factory) -> Bundle:
    """The bundle of the simplest candidate, which answers otherwise and fails the gate."""
    candidate = fuel.candidates[0]
    estimator = fuel.train(candidate, halves.train)
    metrics = fitted.validations[candidate.name].metrics
    return pack(tmp_path_factory.mktemp("simple") / "bundle", candidate, estimator, metrics)


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory) -> Path:
    """An MLflow store whose tables are made, which takes seconds; it is copied, not used."""
    from roadworthy.tracking.registry import Registry

    directory = tmp_path_factory.mktemp("registry")
    Registry(f"sqlite:///{directory / 'mlflow.db'}", str(directory / "artifacts")).models()
    return directory


@pytest.fixture
def settings(tmp_path: Path, empty_registry: Path) -> Settings:
    """The settings of a home of its own, with an empty registry."""
    home = tmp_path / "home"
    shutil.copytree(empty_registry, home / "mlflow")
    return Settings(home=home, actor="tester", ready_seconds=30)


@pytest.fixture(scope="session")
def served_home(tmp_path_factory) -> Iterator[Settings]:
    """A home whose road a real server watches; who uses it puts something on the road first."""
    home = tmp_path_factory.mktemp("served")
    (home / "road").mkdir()
    command = [sys.executable, "-m", "roadworthy.serving", "--road", home / "road"]
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
    """A bare repository with the paths of a recipe and the data, and a DVC remote; to be copied."""
    directory = tmp_path_factory.mktemp("seed")
    work = directory / "work"
    for path in ("src/a.py", "components/a.py", "pipelines/a.py", "requirements/pipeline.txt"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text("# one\n")
    (work / ".dvc").mkdir()
    for path in (".dvc/config", "data.csv.dvc"):
        shutil.copyfile(root / path, work / path)
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*who, "commit", "--quiet", "--message=Seed"),
    ):
        subprocess.run(["git", *arguments], cwd=work, check=True)
    bare = directory / "remote.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", work, bare], check=True)
    shutil.copytree(root / ".dvc" / "embedded", directory / "dvc")
    return directory


@pytest.fixture
def released_from(settings: Settings, seed: Path) -> Settings:
    """The settings of a home with a Git remote and a DVC remote of its own."""
    shutil.copytree(seed / "remote.git", settings.home / "remote.git")
    shutil.copytree(seed / "dvc", settings.home / "dvc")
    return settings.model_copy(update={"dvc_remote_url": str(settings.home / "dvc")})
