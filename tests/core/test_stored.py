"""State of another version of this program is read: of the release before, and of a newer one."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.scoring import Scorer
from roadworthy.core import stored
from roadworthy.models import tensors
from roadworthy.rollout.engine.record import Command, RollbackIntent
from roadworthy.rollout.engine.state import Rollout
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking.records import Record

RELEASE = Path(__file__).parents[1] / "fixtures" / "release"
"""What the release before wrote. Never written anew: a change here breaks who upgrades."""
FORMERLY = {
    "share": "weight",
    "figures": "metrics",
    "judged": "conclusive",
    "blind": "metrics_unavailable",
}
"""Fields that have another name now."""
KINDS = {
    "rollout-staged": Rollout,
    "rollout-shifting": Rollout,
    "rollout-rolled-back": Rollout,
    "rollout-promoted": Rollout,
    "wish": Command,
    "note": RollbackIntent,
    "road": Routing,
    "record": Record,
    "bundle/manifest": bundle.Manifest,
}


def written(name):
    return (RELEASE / f"{name}.json").read_text()


@pytest.mark.parametrize("name", KINDS)
def test_what_the_release_before_wrote_is_read_whole(name):
    found = asdict(stored.decode(KINDS[name], written(name)))
    # tuples are lists in JSON, and what is as by default may be absent there
    again, before = json.loads(json.dumps(found)), json.loads(written(name))
    before.pop("mark", None)  # a rollout has none any more
    assert included(before, again)


@pytest.mark.parametrize("name", KINDS)
def test_a_field_more_is_ignored_at_any_depth(name):
    more = json.dumps(with_more(json.loads(written(name)), free=name == "bundle/manifest"))
    assert stored.decode(KINDS[name], more) == stored.decode(KINDS[name], written(name))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("rollout-shifting", ["owner", "holder", "started", "renewed", "state", "stages"]),
        ("wish", ["by", "at"]),
        ("note", ["by", "at", "why"]),
        ("road", ["challenger", "previous", "share", "shadow", "state", "holder"]),
        ("record", ["ended", "state", "summary", "error", "details"]),
        ("bundle/manifest", ["packages"]),
    ],
)
def test_a_field_less_gets_its_default(name, fields):
    whole = json.loads(written(name))
    for field in fields:
        less = {key: value for key, value in whole.items() if key not in (field, "mark")}
        found = stored.decode(KINDS[name], json.dumps(less))
        assert included(less, json.loads(json.dumps(asdict(found))))


def test_a_rollout_without_a_sign_of_life_is_stale():
    less = {k: v for k, v in json.loads(written("rollout-staged")).items() if k != "renewed"}
    found = stored.decode(Rollout, json.dumps(less))
    assert found.renewed.startswith("1970")


def test_the_first_thing_that_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"^stages\.0\.(weight|share): "):
        stored.decode(Rollout, written("rollout-shifting").replace('"share":0', '"share":"0"'))


def test_a_routing_file_of_the_release_before_is_followed(tmp_path):
    (tmp_path / "fuel.json").write_text(written("road"))
    routing = routes.read(tmp_path, "fuel")
    assert (routing.champion.version, routing.challenger.version, routing.weight) == (2, 3, 50)


def test_a_bundle_of_the_release_before_answers_its_golden_batch():
    found = bundle.read(RELEASE / "bundle")
    columns = tensors.columns(tensors.parse(found.manifest.request), found.golden.requests)
    answers = Scorer(found.graph).score(columns)
    assert found.golden.agreement(answers).agrees
    assert found.manifest.tolerances == {}


def included(less, more):
    """Whether every value of a document is in another one."""
    if isinstance(less, dict):
        now = {FORMERLY.get(key, key): value for key, value in less.items()}
        return all(key in more and included(value, more[key]) for key, value in now.items())
    if isinstance(less, list):
        return len(less) == len(more) and all(map(included, less, more))
    return less == more


def with_more(document, *, free):
    """Return a document with a field more in it and, unless it is of free form, in its parts."""
    if isinstance(document, list):
        return [with_more(one, free=free) for one in document]
    if not isinstance(document, dict):
        return document
    parts = {} if free else {k: with_more(v, free=k == "details") for k, v in document.items()}
    return (
        document | parts | {"not_known_yet": [1]} if not free or "files" in document else document
    )
