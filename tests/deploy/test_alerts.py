"""The alerts in Prometheus's own tester: each fires for what it is for, and for nothing else."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from roadworthy.serving.models import metrics

OF = 'namespace="roadworthy",inferenceservice="fuel"'
GOOD = f'roadworthy_requests_total{{{OF},model="fuel",version="1",protocol="v1",status="200"}}'
BAD = f'roadworthy_requests_total{{{OF},model="fuel",version="2",protocol="v1",status="500"}}'
AWAY = f'roadworthy_requests_total{{{OF},model="",version="",protocol="v1",status="503"}}'
WRONG = f'roadworthy_requests_total{{{OF},model="",version="",protocol="v1",status="400"}}'
SLOW = f'roadworthy_request_seconds_bucket{{{OF},model="fuel",version="1",le="%s"}}'
ONE = f'roadworthy_version{{{OF},model="fuel",version="1",role="champion",pod="a"}}'
ONE_MORE = f'roadworthy_version{{{OF},model="fuel",version="1",role="champion",pod="b"}}'
TWO = f'roadworthy_version{{{OF},model="fuel",version="2",role="champion",pod="c"}}'
UP = 'up{namespace="roadworthy",job="roadworthy/models",pod="a"}'
USUAL = {GOOD: "0+60x600", UP: "1x600"}

CASES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "all is well": (USUAL | {ONE: "1x600", ONE_MORE: "1x600"}, "40m", []),
    "some errors": (USUAL | {BAD: "0+6x600", ONE: "1x600"}, "20m", ["RoadworthyErrors"]),
    "few errors": (USUAL | {BAD: "0+0.2x600", ONE: "1x600"}, "20m", []),
    "bad requests": (USUAL | {WRONG: "0+60x600", ONE: "1x600"}, "20m", []),
    "slow answers": (
        USUAL
        | {ONE: "1x600", SLOW % "0.2": "0+50x600", SLOW % "+Inf": "0+60x600"}
        | {SLOW % "0.5": "0+60x600"},
        *("20m", ["RoadworthySlow"]),
    ),
    "quick answers": (
        USUAL | {ONE: "1x600", SLOW % "0.1": "0+60x600", SLOW % "+Inf": "0+60x600"},
        *("20m", []),
    ),
    "the model is gone": (USUAL | {ONE: "1x30 stale"}, "40m", ["RoadworthyNoChampion"]),
    "a pod less": (USUAL | {ONE: "1x600", ONE_MORE: "1x30 stale"}, "40m", []),
    "a rollout": (USUAL | {ONE: "1x600", TWO: "_x400 1x60"}, "440m", []),
    "a rollout without an end": (
        USUAL | {ONE: "1x600", TWO: "_x400 1x200"},
        *("530m", ["RoadworthyRolloutStuck"]),
    ),
    "a version that was taken off": (
        USUAL | {ONE: "1x600", TWO: "_x400 1x30 stale"},
        *("440m", ["RoadworthyRolledBack"]),
    ),
    "a version that was promoted": (
        USUAL | {ONE: "1x430 stale", TWO: "_x400 1x200"},
        *("440m", []),
    ),
    "too much": (
        USUAL | {ONE: "1x600", AWAY: "0+12x600"},
        *("20m", ["RoadworthyErrors", "RoadworthyOverloaded"]),
    ),
    "figures that cannot be read": (
        USUAL | {ONE: "1x600", UP: "0x600"},
        *("20m", ["RoadworthyUnseen"]),
    ),
}


@pytest.fixture(scope="module")
def promtool(requires: Any) -> str:
    return str(requires.program("promtool", "apt-get install --no-install-recommends prometheus"))


@pytest.fixture(scope="module")
def groups(root: Path) -> dict[str, Any]:
    text = (root / "deploy/base/monitoring/alerts.yaml").read_text()
    return {"groups": yaml.safe_load(text)["spec"]["groups"]}


@pytest.fixture(scope="module")
def panels(root: Path) -> list[dict[str, Any]]:
    text = (root / "deploy/base/monitoring/dashboard.json").read_text()
    found: list[dict[str, Any]] = json.loads(text)["panels"]
    return found


def test_alerts_fire_for_what_they_are_for(
    promtool: str, groups: dict[str, Any], tmp_path: Path
) -> None:
    # given each case as a test of Prometheus's own
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in _rules(groups)}
    assert {alert for _, _, alerts in CASES.values() for alert in alerts} == set(severities)
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": of, "values": values} for of, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": 'sum by (alertname, severity) (ALERTS{alertstate="firing"})',
                    "eval_time": at,
                    "exp_samples": [
                        {"labels": _labels(alert, severities[alert]), "value": 1}
                        for alert in alerts
                    ],
                }
            ],
        }
        for name, (series, at, alerts) in CASES.items()
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    written = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(written))

    # when they run, then all pass
    done = _run(promtool, "test", "rules", tmp_path / "tests.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_dashboard_asks_can_be_asked(
    promtool: str, groups: dict[str, Any], panels: list[dict[str, Any]], tmp_path: Path
) -> None:
    rules = [
        {"record": f"panel:{panel['id']}:{target['refId']}", "expr": _filled(target["expr"])}
        for panel in panels
        for target in panel["targets"]
    ]
    assert len(rules) >= 8
    groups = {"groups": [*groups["groups"], {"name": "panels", "rules": rules}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    done = _run(promtool, "check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_panels_ask_for_figures_that_there_are(
    groups: dict[str, Any], panels: list[dict[str, Any]]
) -> None:
    told = set(re.findall(r'"(roadworthy_\w+)"', Path(metrics.__file__).read_text()))
    targets = itertools.chain.from_iterable(panel["targets"] for panel in panels)
    asked = [rule["expr"] for rule in _rules(groups)] + [target["expr"] for target in targets]
    for expression in asked:
        for name in re.findall(r"roadworthy_\w+", expression):
            assert re.sub(r"_(total|bucket|sum|count)$", "", name) in told, name


def _rules(groups: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in groups["groups"] for rule in group["rules"]]


def _labels(alert: str, severity: str) -> str:
    return f'{{alertname="{alert}", severity="{severity}"}}'


def _filled(expression: str) -> str:
    """Return a panel's expression as Grafana sends it."""
    for name, value in (("$__rate_interval", "1m"), ("$namespace", "a"), ("$model", "b")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def _run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
