"""A clone of the project as it stands in the work tree, and the command in it."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.conftest import version_sample
from tests.docs.pages import install
from tests.ports import free_port

PATIENCE_SECONDS = 240


@dataclass
class Workplace:
    """A clone that a person works in."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-m", "roadworthy", *arguments]

    def roadworthy(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env={**os.environ, **self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def json(self, *arguments: str) -> object:
        """Run the command with --json and return what it printed."""
        done = self.roadworthy(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start the command; it is killed when the block ends."""
        process = subprocess.Popen(
            # A shell's background job ignores Ctrl-C, and so would all that it starts.
            ["env", "--default-signal=INT", *self.command(*arguments)],
            cwd=self.path,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)

    @contextmanager
    def serving(self, *options: str) -> Iterator[str]:
        """Run ``roadworthy serve`` on a free port; give its address."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with self.started("serve", "--port", str(port), *options) as process:
            wait_until(lambda: answers(f"{url}/v2/health/live") or process.poll() is not None)
            assert process.poll() is None, process.stdout and process.stdout.read()
            yield url

    def type(self, text: str) -> subprocess.CompletedProcess[str]:
        """Type a block of a page and wait for its end."""
        return subprocess.run(
            self.shell(text),
            cwd=self.path,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def shell(self, text: str) -> list[str]:
        """Return the command that types a block, with an environment as ``make`` installs it."""
        install(self.path)
        return ["bash", "-euo", "pipefail", "-c", text]

    def git(self, *arguments: str) -> str:
        """Run git in the clone."""
        return git(self.path, *arguments)

    def commit(self, message: str) -> str:
        """Commit everything and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def replace_data(self, content: str) -> str:
        """Put another data.csv under DVC, push it and commit; return the commit."""
        (self.path / "data.csv").write_text(content)
        for words in (["add", "--quiet", "data.csv"], ["push", "--quiet", "data.csv.dvc"]):
            subprocess.run([sys.executable, "-m", "dvc", *words], cwd=self.path, check=True)
        return self.commit("Change the data")

    def remote(self, *arguments: str) -> str:
        """Run git in the embedded remote."""
        return git(self.path / ".roadworthy" / "remote.git", *arguments)

    def runs(self) -> list[Path]:
        """Return the directories of the runs, the oldest first."""
        return sorted((self.path / ".roadworthy" / "runs").glob("*/"))

    def report(self) -> dict:
        """Return the last run's report."""
        return json.loads((self.runs()[-1] / "report.json").read_text())


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=path,
        # Looking must not refresh the index, which a story compares.
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def wait_until(condition, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def snapshot(root: Path, once: Callable[..., Path]) -> Path:
    """The files of the work tree that Git knows or would take, and the sample, in one commit."""

    def make(target: Path) -> None:
        listed = git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, target / name)
        version_sample(target, target / ".dvc" / "embedded")
        git(target, "init", "--quiet", "--initial-branch=main")
        git(target, "config", "user.name", "Somebody")
        git(target, "config", "user.email", "somebody@localhost")
        git(target, "add", "--all", "--force")
        git(target, "commit", "--quiet", "--message", "Begin")

    return once("snapshot", make)


def clone(snapshot: Path, target: Path, *options: str) -> Workplace:
    """Clone the snapshot as a person would."""
    git(target.parent, "clone", "--quiet", *options, f"file://{snapshot}", str(target))
    git(target, "config", "user.name", "Somebody")
    git(target, "config", "user.email", "somebody@localhost")
    return Workplace(target)


@pytest.fixture
def workplace(snapshot: Path, tmp_path: Path) -> Workplace:
    """A fresh clone in which nothing has run yet."""
    return clone(snapshot, tmp_path / "clone with space")


@dataclass(frozen=True)
class FirstRun:
    """The first run in a clone that has an untracked file, ``notes.txt``."""

    clone: Path
    stdout: str
    stderr: str
    before: dict[str, str]
    """What a run must not touch, as it was before."""
    after: dict[str, str]


@pytest.fixture(scope="session")
def first_run(snapshot: Path, once: Callable[..., Path]) -> FirstRun:
    """A first run, made once. Its clone is copied, not used."""

    def make(target: Path) -> None:
        target.mkdir()
        place = clone(snapshot, target / "clone")
        (place.path / "notes.txt").write_text("mine")
        before = untouched(place.path)
        done = place.roadworthy("run", "fuel")
        assert done.returncode == 0, done.stdout + done.stderr
        told = {"stdout": done.stdout, "stderr": done.stderr}
        told |= {"before": before, "after": untouched(place.path)}
        (target / "told.json").write_text(json.dumps(told))

    made = once("first-run", make)
    return FirstRun(made / "clone", **json.loads((made / "told.json").read_text()))


@pytest.fixture
def released(first_run: FirstRun, tmp_path: Path) -> Workplace:
    """A clone after its first run."""
    place = tmp_path / "released"
    shutil.copytree(first_run.clone, place, symlinks=True)
    (place / "notes.txt").unlink()
    # The path of a home stands in its registry and in what its server reads.
    moved = str(first_run.clone), str(place)
    database = place / ".roadworthy" / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(database)) as registry:
        content = "\n".join(registry.iterdump()).replace(*moved)
    database.unlink()
    with closing(sqlite3.connect(database)) as registry:
        registry.executescript(content)
    for file in (place / ".roadworthy" / "routing").glob("*.json"):
        file.write_text(file.read_text().replace(*moved))
    return Workplace(place)


def untouched(path: Path) -> dict[str, str]:
    """Everything of a clone that a run must not touch."""
    return {
        "head": git(path, "rev-parse", "HEAD"),
        "refs": git(path, "for-each-ref"),
        "status": git(path, "status", "--porcelain", "--ignored=no"),
        "config": (path / ".git" / "config").read_text(),
        "index": hashlib.sha256((path / ".git" / "index").read_bytes()).hexdigest(),
        "dvc": (path / "data.csv.dvc").read_text(),
    }
