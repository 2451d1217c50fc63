"""A model of the market goes the whole way: released near chance, asked for tomorrow, simulated."""

import json
from pathlib import Path

import httpx
import pytest

from roadworthy.models import contract

pytestmark = [pytest.mark.story, pytest.mark.slow]

MODEL = "direction"


def test_tomorrow_is_answered_after_the_first_run_and_days_are_simulated(workplace):
    with workplace.serving() as url:
        # given the compiled pipeline, which lets an honest near-chance model pass
        done = workplace.roadworthy("run", MODEL, ROADWORTHY_STAGE_SECONDS="0.5")
        assert done.returncode == 0, done.stdout + done.stderr
        assert workplace.report()["outcome"] == "released"

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

    # when two days are simulated, then their promotions are in the ledger, and nothing is deployed
    simulated = workplace.json("simulate", MODEL, "--days", "2", "--training-window", "60")
    ledger = Path(simulated["ledger"]).read_text()
    promotions = [json.loads(line) for line in ledger.splitlines()]
    assert promotions[0]["reason"] == "bootstrap"
    assert len(promotions) == simulated["promotions"]
    assert len(workplace.json("models")) == 1
