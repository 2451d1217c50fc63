"""A home that the release before wrote goes on with this one."""

import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from roadworthy.bundles import bundle
from tests.docs.pages import typed

from .conftest import Workplace, clone, git, wait_until
from .terminal import Terminal

pytestmark = [pytest.mark.story, pytest.mark.slow]

HOME = "tests/fixtures/release/home.tar.xz"
"""A home of 0.1 after two runs, the second one forced, without pictures, logs and KFP's files, and
the objects of its DVC remote. ``@CLONE@`` stands for the path of its clone.
"""


@pytest.fixture
def old(root: Path, snapshot: Path, tmp_path: Path) -> Workplace:
    """A clone of 0.1 with its home, and an origin in which this release is the next commit."""
    made = tmp_path / "made"
    with tarfile.open(root / HOME) as archive:
        archive.extractall(made, filter="data")
    remote, origin, place = (
        made / "home" / "remote.git",
        tmp_path / "origin.git",
        tmp_path / "clone",
    )
    commit = git(remote, "rev-parse", "fuel-v1~1")
    git(tmp_path, "clone", "--quiet", "--bare", f"file://{snapshot}", str(origin))
    git(origin, "fetch", "--quiet", str(remote), commit)
    git(origin, "config", "user.name", "Somebody")
    git(origin, "config", "user.email", "somebody@localhost")
    new = git(origin, "commit-tree", "main^{tree}", "-p", commit, "-m", "Release 0.2")
    git(origin, "update-ref", "refs/heads/main", commit)
    work = clone(origin, place)
    git(origin, "update-ref", "refs/heads/main", new)

    shutil.move(made / "home", place / ".roadworthy")
    shutil.copytree(made / "dvc", place / ".dvc" / "embedded", dirs_exist_ok=True)
    mlflow, routes = place / ".roadworthy" / "mlflow", place / ".roadworthy" / "road" / "fuel.json"
    routes.write_text(routes.read_text().replace("@CLONE@", str(place)))
    with closing(sqlite3.connect(mlflow / "mlflow.db")) as registry:
        registry.executescript((mlflow / "mlflow.sql").read_text().replace("@CLONE@", str(place)))
    return work


def test_a_home_of_the_release_before_is_upgraded(old: Workplace) -> None:
    # given a home of 0.1 with a champion
    terminal = Terminal(old)
    pull, look, serve, again, back, reproduce = typed("docs/upgrade.md", __file__)
    former = old.git("rev-parse", "HEAD")
    made = next((old.path / ".roadworthy" / "bundles").iterdir())

    # when this release is pulled, then its commands tell the version of 0.1
    terminal.type(pull)
    told = terminal.type(look)
    assert "champion" in told
    assert former[:12] in told

    # when it serves, then that version answers as at its training time
    golden = bundle.read(made).golden
    with terminal.serving(f"{serve.strip()} --port {terminal.port}"):
        answer = httpx.post(
            f"{terminal.url}/v1/models/fuel:predict", json={"instances": golden.requests}
        )
        assert answer.headers["x-roadworthy-version"] == "1"
        for found, expected in zip(answer.json()["predictions"], golden.answers, strict=True):
            assert found == pytest.approx(expected, rel=1e-5)

        # when the pipeline runs, then this release's code makes a version beside it
        assert "Released: version 2 is the champion" in terminal.type(again)
        wait_until(lambda: terminal.version() == "2")
        # when that is rolled back, then the version of 0.1 answers
        terminal.type(back)
        assert terminal.version() == "1"

    # when the version of 0.1 is made again, then its own commit's code makes the same bundle
    assert "is reproduced" in terminal.type(reproduce)
