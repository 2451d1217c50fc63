"""The commands about rollouts: what they refuse, and how they tell it. The rest is in stories."""

import json

import pytest
from typer.testing import CliRunner

from roadworthy.cli import main
from roadworthy.rollout.engine import lease
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking.registry import Registry

runner = CliRunner()


@pytest.fixture
def home(settings, monkeypatch, tmp_path):
    """A home with an empty registry, as the commands see it."""
    monkeypatch.setenv("ROADWORTHY_HOME", str(settings.home))
    monkeypatch.setenv("ROADWORTHY_ACTOR", "ada")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return settings


@pytest.fixture
def first(home, packed):
    """Version 1 is on its way, and no other was before it."""
    registry = Registry.of(home)
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    registry.register("fuel", run_id=run, digest=packed.digest, tags={})
    return lease.begin(
        *(home, LocalRecords(home), "fuel", 1),
        champion=0,
        strategy="canary",
        owner="run-1",
        why="",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollback", "../x"),
        ("rollback", "fuel/../../x"),
        ("rollback", "Fuel"),
        ("rollback", ""),
        ("rollout", "abort", "../x"),
        ("rollout", "status", "a'b"),
        ("rollout", "start", "../x:1"),
        ("status", ".."),
    ],
)
def test_what_is_no_models_name_is_refused_and_nothing_is_touched(home, arguments):
    before = sorted(home.home.rglob("*"))

    done = runner.invoke(main.app, arguments)

    assert done.exit_code == 2
    assert "names no version" in done.output or "is no model's name" in done.output
    assert sorted(home.home.rglob("*")) == before


@pytest.mark.parametrize("number", ["-1", "0", "x"])
def test_what_is_no_version_is_no_way_back(home, number):
    done = runner.invoke(main.app, ["rollback", "fuel", "--to", number])

    assert done.exit_code == 2
    assert "--to" in done.output


def test_a_first_rollout_says_that_there_was_no_champion(first):
    told = runner.invoke(main.app, ["rollout", "status", "fuel"]).output
    assert "none before this one" in told

    as_json = runner.invoke(main.app, ["rollout", "status", "fuel", "--json"]).output
    assert json.loads(as_json)[0]["champion"] == 0


def test_how_models_stand_is_a_list_of_facts_for_each(home, first, packed):
    routes.write(home.routing, Routing("fuel", champion=placement.place(home, packed, 1)))

    for words in (["status"], ["status", "fuel"]):
        done = runner.invoke(main.app, words)

        assert done.exit_code == 1  # as nothing serves it
        for word in ("model", "champion", "ready", "rollout", "problem", "run-1"):
            assert word in done.output
        assert "No server serves" in done.output
        assert done.output.count("champion") == 1


def test_how_models_stand_as_json(home, first, packed):
    routes.write(home.routing, Routing("fuel", champion=placement.place(home, packed, 1)))

    done = runner.invoke(main.app, ["status", "--json"])

    assert done.exit_code == 1
    (found,) = json.loads(done.output)
    assert (found["model"], found["champion"], found["ready"]) == ("fuel", 1, False)
    assert (found["rollout"]["version"], found["rollout"]["owner"]) == (1, "run-1")
    assert "No server serves" in found["problem"]


def test_where_no_model_is_there_is_nothing_to_tell(home):
    done = runner.invoke(main.app, ["status"])

    assert done.exit_code == 0
    assert "There is no model yet" in done.output
    assert json.loads(runner.invoke(main.app, ["status", "--json"]).output) == []
