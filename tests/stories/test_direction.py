"""A model of the market goes the whole way: released near chance, asked for tomorrow, simulated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from roadworthy.models import contract

from .conftest import git

pytestmark = [pytest.mark.story, pytest.mark.slow]

MODEL = "direction"


@pytest.fixture
def remote(workplace, tmp_path):
    """A Git remote whose data lacks the last three trading days."""
    file = workplace.path / contract.load(MODEL).data.removesuffix(".dvc")
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=workplace.path, check=True)
    whole = file.read_text()
    (tmp_path / "whole.csv").write_text(whole)
    file.unlink()
    file.write_text("".join(whole.splitlines(keepends=True)[:-3]))
    for words in (["add", "-q", str(file)], ["push", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=workplace.path, check=True)
    workplace.git("add", "--force", ".dvc/embedded")
    workplace.commit("Begin three days before")
    made = tmp_path / "remote.git"
    workplace.git("clone", "--quiet", "--bare", str(workplace.path), str(made))
    return made


def cycle(workplace, remote, tmp_path):
    """Run the script of the CronJob on the evening of 31 December 2018."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ROADWORTHY_HOME": str(workplace.path / ".roadworthy"),
        "ROADWORTHY_GIT_REMOTE": str(remote),
        "ROADWORTHY_STAGE_SECONDS": "0.5",
        "DIRECTION_PRICES": str(tmp_path / "whole.csv"),
        "CYCLE_PLACE": str(tmp_path / "source"),
        "CYCLE_NOW": "2018-12-31T22:00",
    }
    done = subprocess.run(
        [str(workplace.path / "deploy" / MODEL / "cycle")],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_daily_cycle_releases_and_tomorrow_is_answered(workplace, remote, visit, tmp_path):
    with workplace.serving() as url:
        # given the cycle, which ingests what is missing, and whose gate lets an honest model pass
        told = cycle(workplace, remote, tmp_path)
        assert "3 rows added" in told
        assert "Released: version 1 is the champion" in told
        assert "Ingest prices" in git(remote, "log", "--format=%s", "main")

        # when tomorrow is asked for, then the call is that of the threshold
        address = f"{url}/predictionForTomorrow"
        found = {
            threshold: httpx.get(address, params={"threshold": threshold}).json()
            for threshold in (0.3, 0.9)
        }
        assert [one["prediction"] for one in found.values()] == ["UP", "DOWN"]
        answer = found[0.3]
        assert answer.pop("stale").startswith("The latest data is of 2018-12-31")
        assert 0.4 < answer.pop("confidence") < 0.7
        assert answer == {
            "prediction": "UP",
            "threshold": 0.3,
            "model_source": "mlflow",
            "model_alias": "champion",
            "model_version": 1,
            "as_of": "2018-12-31",
            "next_trading_day": "2019-01-02",
        }
        assert httpx.get(address).json()["threshold"] == 0.5
        refused = httpx.get(address, params={"threshold": "1.5"})
        assert (refused.status_code, "threshold" in refused.text) == (422, True)

        # and V1 takes the same closes
        example = contract.load(MODEL).Request.model_config["json_schema_extra"]["example"]
        predicted = httpx.post(
            f"{url}/v1/models/{MODEL}:predict", json={"instances": [example]}
        ).json()
        assert predicted["predictions"][0]["next_close"] in ("UP", "DOWN")

        # and the page says that it is near chance, and lists the last month's calls
        visited = visit(f"{url}/#/{MODEL}")
        visited.page.wait_for_selector("#model[data-state=ready]")
        assert "the interval holds zero" in visited.page.locator("#note").inner_text()
        assert visited.page.locator("#record-body tr").count() == 22
        assert visited.problems == []

    # when two days are simulated, then their promotions are in the ledger, and nothing is deployed
    simulated = workplace.json("simulate", MODEL, "--days", "2", "--training-window", "60")
    ledger = Path(simulated["ledger"]).read_text()
    promotions = [json.loads(line) for line in ledger.splitlines()]
    assert promotions[0]["reason"] == "bootstrap"
    assert len(promotions) == simulated["promotions"]
    assert len(workplace.json("models")) == 1
