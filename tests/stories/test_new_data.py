"""Data changes: good data makes a new champion without a lost request, bad data is refused."""

import json
import random
import threading
from contextlib import AbstractContextManager

import httpx
import pytest

from tests.conftest import SAMPLE
from tests.docs.pages import typed
from tests.parts.answering import Asked, Reply, answered_by
from tests.ports import free_port

from .conftest import Workplace, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow]


class Customer(threading.Thread):
    """Somebody who asks all the time and remembers every answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = f"{url}/v1/models/fuel:predict"
        self.statuses: list[int] = []
        self.versions: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        body = {"instances": [{"weight_kg": 1200, "year": 1980}]}
        with httpx.Client(timeout=10) as client:
            while not self.stopped.wait(0.01):
                answer = client.post(self.url, json=body)
                self.statuses.append(answer.status_code)
                self.versions.append(answer.headers.get("x-roadworthy-version", ""))

    def stop(self) -> None:
        self.stopped.set()
        self.join(15)


@pytest.fixture
def lines() -> list[str]:
    return SAMPLE.read_text().splitlines()


def test_violated_schema_names_column_line_and_rule(released: Workplace, lines) -> None:
    # given data with a weight that no car has and an unknown origin
    lines[10] = lines[10].replace(lines[10].split(",")[4], "99999", 1)
    fields = lines[20].split(",")
    lines[20] = ",".join([*fields[:7], "9", *fields[8:]])
    (released.path / "data.csv").write_text("\n".join(lines) + "\n")
    # when it is committed and the pipeline runs, as the page says
    change, share = typed("docs/how-to/data.md", __file__)
    done = released.type(change)
    # then it stops at the validation and says what and where
    assert done.returncode == 1
    report = released.report()
    assert report["outcome"] == "failed"
    assert report["steps"][-1]["step"] == "prepare"
    assert "2 violations" in report["why"]
    assert "column weight_lb line 11" in report["why"]
    assert "column origin line 21" in report["why"]
    assert "99999" in report["why"]
    assert "Traceback" not in done.stdout + done.stderr
    # and the traceback is in the log
    assert "Traceback" in (released.runs()[-1] / "log.txt").read_text()
    # when the data is shared with other clones, then Git takes what it ignores
    assert released.type(share).returncode == 0
    assert ".dvc/embedded" in released.git("diff", "--cached", "--name-only")


def test_worse_data_is_refused_by_the_gate(released: Workplace, lines) -> None:
    # given data whose consumption is half noise
    noise = random.Random(0)
    worse = [lines[0]]
    for line in lines[1:]:
        mpg, rest = line.split(",", 1)
        worse.append(f"{max(8.0, min(50.0, float(mpg) * noise.uniform(0.7, 1.3))):.1f},{rest}")
    released.replace_data("\n".join(worse) + "\n")
    before = released.json("models")
    # when the pipeline runs, as `make run` does it
    done = released.roadworthy("up", "fuel", "--once", "--port", str(free_port()))
    # then it ends with the gate's exit code, the champion of before answers, the report says why
    assert done.returncode == 3, done.stdout + done.stderr
    assert '"l_per_100km"' in done.stdout
    report = released.report()
    assert report["outcome"] == "rejected"
    assert "cv_r2 is 0." in report["why"]
    assert "0.885 is required" in report["why"]
    assert "Traceback" not in (released.runs()[-1] / "log.txt").read_text()
    # and there is no new version, and the champion is who it was
    assert [(v["version"], v["aliases"]) for v in released.json("models")] == [
        (v["version"], v["aliases"]) for v in before
    ]


def test_new_data_makes_a_champion_and_loses_no_request(released: Workplace, lines) -> None:
    # given a server that answers somebody all the time, and some more cars
    champion = released.json("lineage", "fuel")["version"]
    released.replace_data("\n".join([*lines, *_heavier(lines[1:40])]) + "\n")
    with released.serving() as url, spoiled(url) as way:
        customer = Customer(url)
        customer.start()
        wait_until(lambda: customer.statuses)
        # when the pipeline runs over a way to the server that spoils the answers of pinned versions
        done = released.roadworthy("run", "fuel", ROADWORTHY_SERVING_URL=way)
        # then the new version is out of service, and the champion answers
        assert done.returncode == 4, done.stdout + done.stderr
        report = released.report()
        assert report["outcome"] == "rolled back"
        assert "differs from the one at training time" in report["why"]
        assert released.json("lineage", "fuel")["version"] == champion
        assert set(customer.versions) == {str(champion)}
        # when the pipeline runs again, with nothing in the way
        done = released.roadworthy("run", "fuel")
        wait_until(lambda: customer.versions[-1] != str(champion))
        customer.stop()
    # then a new champion answers, the old one was compared on the same hold-out, nobody noticed
    assert done.returncode == 0, done.stdout + done.stderr
    new = released.json("lineage", "fuel")["version"]
    assert set(customer.statuses) == {200}
    assert set(customer.versions) == {str(champion), str(new)}
    checks = next(s for s in released.report()["steps"] if s["step"] == "gate")["details"]["checks"]
    assert any(check["name"] == "r2_with_margin" for check in checks)
    # and the release before can be made again
    assert released.json("reproduce", f"fuel:{champion}")["same"]


def _heavier(lines: list[str]) -> list[str]:
    """The same cars, a little heavier: new rows that keep the schema."""
    made = []
    for line in lines:
        fields = line.split(",")
        made.append(",".join([*fields[:4], str(int(fields[4]) + 7), *fields[5:]]))
    return made


def spoiled(target: str) -> AbstractContextManager[str]:
    """A proxy that makes every answer of a pinned version one per cent greater."""

    def pass_on(asked: Asked) -> Reply:
        kept = {
            name: value
            for name, value in asked.headers.items()
            if name in ("content-type", "x-roadworthy-version")
        }
        answer = httpx.request(asked.method, target + asked.path, content=asked.body, headers=kept)
        if asked.method == "GET":
            return Reply(answer.status_code, answer.content)
        told = answer.json()
        for row in told.get("predictions", []):
            row["mpg"] *= 1.01
        version = {"x-roadworthy-version": answer.headers.get("x-roadworthy-version", "")}
        return Reply(answer.status_code, json.dumps(told).encode(), version)

    return answered_by(pass_on)
