"""A version is staged beside the champion, promoted or taken off; the champion goes on."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import BundleError
from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import intent
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RefusedError, RolledBackError, Rollout, RolloutError
from roadworthy.rollout.engine.target import Standing
from roadworthy.rollout.local import local_target, placement
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes
from roadworthy.routing.routes import Road
from tests.parts.answering import Reply

CAR = {"weight_kg": 1200, "year": 1980}


@pytest.fixture
def home(tmp_path):
    """A home that no server watches."""
    return Settings(home=tmp_path, serving_url="http://127.0.0.1:9", ready_seconds=0.3)


@pytest.fixture
def live(served_home, packed):
    """The served home with version 1 as the champion."""
    local_target.stage(served_home, packed, 1)
    promote(served_home, 1)
    return served_home


@pytest.fixture
def own(packed, tmp_path):
    return bundle.read(Path(shutil.copytree(packed.path, tmp_path / "own")))


def ask(settings, version=None):
    """Return which version answers, or the status of the refusal."""
    answer = httpx.post(
        f"{settings.serving_url}/v1/models/fuel:predict",
        json={"instances": [CAR]},
        headers={"x-roadworthy-version": str(version)} if version else {},
        trust_env=False,
    )
    told = answer.headers.get("x-roadworthy-version")
    return int(told) if answer.is_success else answer.status_code


def rollout(settings, version, state, **more):
    champion = routes.read(settings.road, "fuel").champion
    number = champion.version if champion else 0
    return Rollout("fuel", version, number, "canary", "me", "", "", "", state=state, **more)


def promote(settings, version):
    LocalTarget(settings).promote(rollout(settings, version, "promoted"))


def roll_back(settings, version):
    LocalTarget(settings).roll_back(rollout(settings, version, "rolled back"))


def answers_soon(settings, expected, version=None):
    return any(ask(settings, version) == expected for _ in range(300))


def test_a_staged_version_answers_only_those_who_ask_for_it(live, simple):
    local_target.stage(live, simple, 2)

    assert ask(live) == 1
    assert ask(live, 2) == 2
    found = routes.read(live.road, "fuel")
    assert (found.champion.version, found.challenger.version) == (1, 2)


def test_a_promoted_version_answers_everybody(live, simple):
    local_target.stage(live, simple, 2)

    promote(live, 2)

    assert answers_soon(live, 2)
    assert routes.read(live.road, "fuel").challenger is None
    promote(live, 2)
    assert routes.read(live.road, "fuel").champion.version == 2


def test_a_version_that_is_rolled_back_answers_nobody(live, simple):
    local_target.stage(live, simple, 3)

    roll_back(live, 3)
    roll_back(live, 3)

    assert answers_soon(live, 404, version=3)
    assert ask(live) == 1
    assert routes.read(live.road, "fuel").challenger is None


def test_staging_waits_for_this_bundle_under_the_version_not_for_any(live, packed, simple):
    local_target.stage(live, simple, 4)

    local_target.stage(live, packed, 4)

    card = httpx.get(
        f"{live.serving_url}/v2/models/fuel/card",
        headers={"x-roadworthy-version": "4"},
        trust_env=False,
    ).json()
    assert card["digest"] == packed.digest


def test_a_version_that_never_comes_up_is_told_and_taken_off_again(live, simple):
    elsewhere = live.model_copy(update={"serving_url": "http://127.0.0.1:9", "ready_seconds": 0.3})

    with pytest.raises(RolloutError) as caught:
        local_target.stage(elsewhere, simple, 5)

    sentence = str(caught.value)
    assert "Version 5 of fuel did not come up at http://127.0.0.1:9 within 0.3 s" in sentence
    assert str(live.road) in sentence
    found = routes.read(live.road, "fuel")
    assert (found.champion.version, found.challenger) == (1, None)


def test_another_bundle_under_the_version_is_not_taken_for_this_one(live, home, packed, simple):
    local_target.stage(live, simple, 6)
    wrong = home.model_copy(update={"serving_url": live.serving_url})

    with pytest.raises(RolloutError, match=f"it holds the bundle {simple.digest[:12]}"):
        local_target.stage(wrong, packed, 6)


def test_a_server_that_watches_another_road_is_told(served_home, home, packed):
    wrong = home.model_copy(update={"serving_url": served_home.serving_url})

    with pytest.raises(RolloutError, match="it holds no such version"):
        local_target.stage(wrong, packed, 77)


def test_an_address_that_is_none_is_told(home, packed):
    with pytest.raises(RolloutError, match="did not come up at nonsense"):
        local_target.stage(home.model_copy(update={"serving_url": "nonsense"}), packed, 1)


@pytest.mark.parametrize("share", [10, 100, 0])
def test_a_share_is_written_and_told_by_the_server(live, simple, share):
    local_target.stage(live, simple, 2)

    LocalTarget(live).shift(rollout(live, 2, "shifting", share=share))

    found = routes.read(live.road, "fuel")
    assert (found.share, found.shadow, found.state) == (share, True, "shifting")
    card = httpx.get(f"{live.serving_url}/v2/models/fuel/card", trust_env=False).json()
    assert {part["version"]: part["share"] for part in card["split"]} == {1: 100 - share, 2: share}
    assert (100 in (share, 100 - share)) <= (ask(live) == (2 if share == 100 else 1))
    # and staging it again, as whoever takes over does, keeps the share
    local_target.stage(live, simple, 2)
    assert routes.read(live.road, "fuel").share == share
    roll_back(live, 2)


def test_figures_are_read_from_a_real_server(live, simple):
    local_target.stage(live, simple, 2)
    target, under_way = LocalTarget(live), rollout(live, 2, "shifting", share=100)
    target.shift(under_way)
    before = target.observe(under_way)

    asked = [ask(live) for _ in range(30)]

    grown = target.observe(under_way).since(before)
    assert asked == [2] * 30
    assert (grown.asked, grown.failures, sum(grown.fallbacks.values())) == (30, 0, 0)
    assert grown.traffic > 0
    assert max(grown.seconds.values()) == 30
    roll_back(live, 2)


def test_no_figures_are_told_by_no_server(home):
    assert LocalTarget(home).observe(rollout(home, 2, "shifting")) is None


def test_a_road_that_somebody_changed_is_left_alone(home, packed):
    release = placement.place(home, packed, 1)
    routes.write(home.road, Road("fuel", champion=release))
    left = Note("fuel", 1, (2,), "ada", "2026-01-02T03:04:05+00:00", "it smokes")
    intent.write(home, left)

    for act in (LocalTarget(home).shift, LocalTarget(home).observe):
        with pytest.raises(RolledBackError, match=r"rolled back by ada at 2026.*: it smokes"):
            act(rollout(home, 2, "shifting", share=10))

    assert routes.read(home.road, "fuel") == Road("fuel", champion=release)
    assert intent.read(home, "fuel") == left
    intent.clear(home, left)
    assert intent.read(home, "fuel") is None


def test_a_road_that_lost_its_champion_is_not_taken_for_a_first_release(home, packed):
    release = placement.place(home, packed, 2)
    routes.write(home.road, Road("fuel", challenger=release))

    with pytest.raises(RolloutError, match="has lost its champion, version 1"):
        local_target.projected(
            routes.read(home.road, "fuel"),
            Rollout("fuel", 2, 1, "canary", "me", "", "", "", state="promoted"),
        )


def test_rolling_means_nothing_here(home):
    with pytest.raises(RolloutError, match="no replicas"):
        LocalTarget(home).check("rolling")
    LocalTarget(home).check("canary")


def test_the_champion_before_is_kept_in_mind(home, packed, simple):
    first, second = placement.place(home, packed, 1), placement.place(home, simple, 2)
    routes.write(home.road, Road("fuel", champion=first, challenger=second))

    promote(home, 2)
    promote(home, 2)

    found = routes.read(home.road, "fuel")
    assert (found.champion, found.previous) == (second, first)


def test_what_was_not_staged_is_not_promoted(home):
    with pytest.raises(RolloutError, match="Version 2 of fuel is not staged"):
        promote(home, 2)

    assert routes.read(home.road, "fuel") == Road("fuel")


def test_staging_the_champion_again_keeps_since_when_it_is_the_champion(home, packed):
    first = placement.place(home, packed, 1)
    champion = routes.Release(1, first.bundle, first.digest, "2020-01-01T00:00:00+00:00")
    routes.write(home.road, Road("fuel", champion, first))

    promote(home, 1)

    assert routes.read(home.road, "fuel") == Road("fuel", champion)


def test_placing_twice_keeps_the_copy(home, packed):
    first = placement.place(home, packed, 1)
    before = Path(first.bundle).stat()

    again = placement.place(home, packed, 2)

    assert (again.bundle, again.digest, again.version) == (first.bundle, packed.digest, 2)
    assert Path(first.bundle).stat().st_ino == before.st_ino
    assert [path.name for path in home.bundles.iterdir()] == [packed.digest]


def test_two_that_place_at_once_end_with_one_whole_copy(home, packed):
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda number: placement.place(home, packed, number), range(8)))

    assert {release.bundle for release in placed} == {str(home.bundles / packed.digest)}
    assert bundle.read(home.bundles / packed.digest, packed.digest)
    assert [path.name for path in home.bundles.iterdir()] == [packed.digest]


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MANIFEST])
def test_a_bundle_that_was_damaged_since_it_was_read_is_refused(home, own, name):
    file = own.path / name
    file.write_bytes(file.read_bytes() + b" ")

    with pytest.raises(BundleError):
        placement.place(home, own, 1)

    assert list(home.bundles.iterdir()) == []


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MANIFEST])
def test_a_copy_that_was_damaged_is_replaced_by_a_whole_one(home, packed, name):
    file = Path(placement.place(home, packed, 1).bundle) / name
    file.write_bytes(b"damaged")

    again = placement.place(home, packed, 1)

    assert bundle.read(Path(again.bundle), packed.digest)
    assert [path.name for path in home.bundles.iterdir()] == [packed.digest]


def test_a_place_that_cannot_be_written_is_told(tmp_path, packed):
    (tmp_path / "bundles").write_text("a file in the way")

    with pytest.raises(RolloutError, match="The bundle cannot be placed in"):
        placement.place(Settings(home=tmp_path), packed, 1)


def test_a_process_killed_while_it_copies_leaves_nothing_that_counts(home, packed):
    code = (
        "import os, shutil, sys\n"
        "from pathlib import Path\n"
        "from roadworthy.bundles import bundle\n"
        "from roadworthy.rollout.local import placement\n"
        "from roadworthy.core.settings import Settings\n"
        "real = shutil.copytree\n"
        "def half(source, target):\n"
        "    target.mkdir(); shutil.copyfile(source / 'manifest.json', target / 'manifest.json')\n"
        "    os._exit(9)\n"
        "shutil.copytree = half\n"
        "placement.place(Settings(home=sys.argv[1]), bundle.read(Path(sys.argv[2])), 1)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, home.home, packed.path], check=False, capture_output=True
    )
    assert killed.returncode == 9
    assert not (home.bundles / packed.digest).exists()

    assert bundle.read(Path(placement.place(home, packed, 1).bundle), packed.digest)


@pytest.fixture
def refusing(home, server_of):
    """A home whose server refuses every version."""
    reason = "Version 2 of fuel is refused: it answers otherwise."
    told = {
        "GET": {"workers": [{"versions": {}, "split": []}]},
        "POST": [{"name": "fuel", "version": "2", "state": "UNAVAILABLE", "reason": reason}],
    }
    url = server_of(lambda asked: Reply.of(told[asked.method]))
    return home.model_copy(update={"serving_url": url})


def test_a_version_that_the_server_refuses_is_told_apart_from_a_server_that_is_gone(
    refusing, home, packed
):
    with pytest.raises(RefusedError, match="it answers otherwise") as refused:
        local_target.stage(refusing, packed, 2)
    with pytest.raises(RolloutError) as gone:
        local_target.stage(home, packed, 2)

    assert refused.value.exit_code == ExitCode.ROLLED_BACK
    assert gone.value.exit_code == ExitCode.FAILED
    assert routes.read(refusing.road, "fuel") == Road("fuel")


def test_whoever_waits_for_the_server_goes_on_saying_that_it_lives(home, packed):
    said = []
    new = Rollout("fuel", 2, 0, "canary", "me", "", "", "")

    with pytest.raises(RolloutError, match="did not come up"):
        LocalTarget(home).stage(new, packed, lambda: said.append("I live"))

    assert len(said) > 1


def test_the_road_names_who_drives_and_nobody_once_that_has_ended(home, packed, simple):
    first, second = placement.place(home, packed, 1), placement.place(home, simple, 2)
    routes.write(home.road, Road("fuel", champion=first, challenger=second))
    driven = Rollout("fuel", 2, 1, "canary", "me", "here:1:2", "", "", state="staged")

    LocalTarget(home).roll_back(driven)  # nothing but writes what it is told
    assert routes.read(home.road, "fuel").holder == "here:1:2"
    LocalTarget(home).promote(replace(driven, state="promoted"))
    assert routes.read(home.road, "fuel").holder == ""


def test_the_note_of_a_rollback_is_left_until_it_is_cleared(home):
    target, told = LocalTarget(home), Note("fuel", 1, (2,), "ada", "2026-01-02", "it smokes")
    driven = Rollout("fuel", 2, 1, "canary", "me", "", "", "", state="rolled back")
    assert target.left("fuel") is None

    routes.write(home.road, Road("fuel", champion=routes.Release(1, "", "", "")))
    target.roll_back(driven, told)

    assert target.left("fuel") == told
    target.clear(replace(told, why="another one"))
    assert target.left("fuel") == told
    target.clear(told)
    assert target.left("fuel") is None


def test_a_model_stands_as_the_server_says(live, simple):
    local_target.stage(live, simple, 2)
    target = LocalTarget(live)

    found = target.standing("fuel")

    assert found == Standing(
        "fuel",
        f"the server at {live.serving_url}",
        live.serving_url,
        champion=1,
        challenger=2,
        ready=True,
    )
    # and what the road says and the server does not hold is a problem
    now = routes.read(live.road, "fuel")
    lost = replace(now, champion=replace(now.champion, bundle="/nowhere", digest="f" * 64))
    routes.write(live.road, lost)
    found = target.standing("fuel")
    assert (found.champion, found.ready) == (1, False)
    assert "is not what its road says" in found.problem
    routes.write(live.road, now)


def test_what_cannot_be_reached_is_a_problem_of_its_standing(home, packed, tmp_path):
    nowhere = LocalTarget(home).standing("fuel")
    assert "fuel is not on the road: `roadworthy run fuel`" in nowhere.problem

    routes.write(home.road, Road("fuel", champion=placement.place(home, packed, 1)))
    gone = LocalTarget(home).standing("fuel")
    assert (gone.url, gone.champion, gone.ready) == ("http://127.0.0.1:9", 1, False)
    assert "http://127.0.0.1:9 gives no answer" in gone.problem

    nobody = Settings(home=tmp_path)
    routes.write(nobody.road, Road("fuel", champion=placement.place(nobody, packed, 1)))
    found = LocalTarget(nobody).standing("fuel")
    assert (found.place, found.url, found.champion) == ("no server", "", 1)
    assert "start one with `roadworthy serve`" in found.problem

    (home.road / "fuel.json").write_text("{")
    assert "does not say what is deployed" in LocalTarget(home).standing("fuel").problem
