"""New rows are added once, under DVC; what fails leaves the data as it was."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from roadworthy.models import contract
from roadworthy.routing import latest
from roadworthy.steps.ingest import ingest

MODEL = "direction"  # the model of the project that gets new data
NOW = datetime(2018, 12, 31, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def whole(root):
    return root / contract.load(MODEL).data.removesuffix(".dvc")


@pytest.fixture
def place(root, whole, tmp_path):
    """A repository whose data lacks the last three rows."""
    made = tmp_path / "clone"
    file = made / whole.relative_to(root)
    file.parent.mkdir(parents=True)
    (made / ".dvc").mkdir()
    shutil.copyfile(root / ".dvc" / "config", made / ".dvc" / "config")
    file.write_text("".join(whole.read_text().splitlines(keepends=True)[:-3]))
    subprocess.run(["git", "init", "--quiet"], cwd=made, check=True)
    adding = [sys.executable, "-m", "dvc", "add", "--quiet", str(file)]
    subprocess.run(adding, cwd=made, check=True)
    return made


def test_new_rows_are_added_once_and_published(place, whole, root, settings, monkeypatch):
    monkeypatch.setenv("DIRECTION_PRICES", str(whole))

    first, second = (ingest(settings, MODEL, place, NOW) for _ in range(2))

    assert (first.added, second.added, first.warning, second.warning) == (3, 0, "", "")
    assert (place / whole.relative_to(root)).read_bytes() == whole.read_bytes()
    # the whole sample again, so its pointer is the project's
    model = contract.load(MODEL)
    assert (place / model.data).read_text() == (root / model.data).read_text()
    assert latest.read(settings.latest, MODEL).as_of == "2018-12-31"


def test_a_source_that_fails_leaves_yesterday_s_data(place, whole, root, settings, monkeypatch):
    monkeypatch.setenv("DIRECTION_PRICES", str(place / "nothing.csv"))
    file = place / whole.relative_to(root)
    before = file.read_bytes()

    found = ingest(settings, MODEL, place, NOW)

    assert (found.added, found.as_of) == (0, "2018-12-26")
    assert "has no prices" in found.warning
    assert file.read_bytes() == before
    assert latest.read(settings.latest, MODEL).as_of == "2018-12-26"
    assert [one.name for one in file.parent.iterdir() if one.name.startswith(".2")] == []
