"""A user brings a table: a model is started, run, released and served."""

import re
import sys
from pathlib import Path

import httpx
import pytest

from roadworthy.bundles import bundle
from tests.docs.pages import blocks, typed

from .conftest import Workplace, clone

pytestmark = [pytest.mark.story, pytest.mark.slow]


def typing(place: Workplace, text: str) -> str:
    """Type a block and return what it printed."""
    done = place.type(text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def use_other_estimators(package: Path) -> None:
    """Replace the candidates as the page says, and lower the criteria."""
    (replaced,) = (
        block.text
        for block in blocks("docs/how-to/use-another-estimator.md")
        if block.language == "python"
    )
    estimator, evaluation = package / "estimator.py", package / "evaluation.py"
    kept, _, _ = estimator.read_text().partition("candidates = (")
    estimator.write_text(kept + replaced)
    lowered = re.sub(r'(r2", "at least"), [\d.]+', r"\1, 0.5", evaluation.read_text())
    evaluation.write_text(re.sub(r'(mae", "at most"), [\d.]+', r"\1, 2.0", lowered))


@pytest.fixture
def place(snapshot: Path, tmp_path: Path) -> Workplace:
    """A clone without history or branch, whose own package the command uses; the environment is
    in a path with a space.
    """
    fresh = clone(snapshot, tmp_path / "clone", "--depth=1")
    fresh.git("checkout", "--quiet", "--detach")
    environment = tmp_path / "an environment"
    environment.symlink_to(Path(sys.executable).parents[1])
    fresh.python = str(environment / "bin" / "python")
    fresh.environment["PYTHONPATH"] = str(fresh.path / "src")
    return fresh


def test_a_table_of_numbers_becomes_a_served_regression(place: Workplace) -> None:
    # given the sample, when a model is started from it, committed and run as the pages say
    start, release = typed("docs/how-to/new-model.md", __file__)
    assert typed("README.md", __file__) == [start]
    told = typing(place, start)
    use_other_estimators(place.path / "src/roadworthy/models/boats")
    typing(place, release)
    # then it is a regression, and the server answers with and without the optional values
    assert "Started boats, a regression: length_m holds numbers." in told
    assert "Not learnt from: id (it identifies rows), boat (it has 78 different strings)." in told
    assert place.git("status", "--porcelain") == ""
    origin = place.json("lineage", "boats")
    made = bundle.read(place.path / ".roadworthy" / "bundles" / origin["bundle"])
    assert made.manifest.candidate in ("extra_trees", "gradient_boosting")
    assert len(made.golden.requests) >= 10
    row = {"beam_m": 3.1, "built": "2030-03-15", "sailing": True}
    rows = [{**row, "draught_m": 1.2, "hull": "steel"}, row]
    with place.serving() as url:
        address = f"{url}/v1/models/boats:predict"
        answered = httpx.post(address, json={"instances": rows})
        golden = httpx.post(address, json={"instances": made.golden.requests})
        wrong = {"beam_m": 31, "hull": "paper", "built": "15.3.2030", "sailing": "yes"}
        refused = httpx.post(address, json={"instances": [wrong]})
    assert answered.status_code == 200
    lengths = [answer["length_m"] for answer in answered.json()["predictions"]]
    expected = 2.6 * 3.1 + 0.4 * 3.1 * 1.2 + 1.2 + 0.8 + 0.04 * 40
    assert lengths[0] == pytest.approx(expected, abs=1)
    assert lengths[1] == pytest.approx(expected, abs=2)
    for answer, expected in zip(golden.json()["predictions"], made.golden.answers, strict=True):
        assert answer == pytest.approx(expected, rel=1e-5)
    # and a boat that cannot be is refused, with field, bound and unit
    assert refused.status_code == 422
    problems = {detail["field"]: detail for detail in refused.json()["details"]}
    assert problems["beam_m"]["bound"] == "1.2 to 5.8"
    assert problems["beam_m"]["unit"] == "m"
    assert problems["hull"]["bound"] == "one of glass, steel, wood"
    assert problems["built"]["bound"] == "a date such as 2024-03-15"
    assert problems["sailing"]["bound"] == "true or false"
    # and it can be made again, byte for byte
    assert place.json("reproduce", "boats:1")["same"]
