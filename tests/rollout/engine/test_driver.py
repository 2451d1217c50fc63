"""The driver goes through the stages, ends a bad one at once, and obeys a user."""

from dataclasses import dataclass, field, replace

import pytest

from roadworthy.bundles.bundle import Golden
from roadworthy.bundles.stores import StoreError
from roadworthy.rollout.engine import lease, record
from roadworthy.rollout.engine.analysis import TrafficStats
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.record import Command
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.engine.target import Status
from roadworthy.rollout.engine.verification import Verification
from roadworthy.rollout.local.local_records import LocalRecords

GOOD = Verification(20, 1e-15)


@dataclass
class Place:
    """A target whose time passes when it is told to, and which counts as it is told to."""

    now: float = 0.0
    count: object = None
    golden: list = field(default_factory=list)
    done: list = field(default_factory=list)
    when: dict = field(default_factory=dict)
    total: TrafficStats = field(default_factory=TrafficStats)
    unreachable: bool = False
    metrics_source: str = "Prometheus"
    metrics_remedy: str = ""
    looks: int = 0
    unmeasured: str = ""

    def check(self, strategy):
        """Take any."""

    def stage(self, rollout, bundle, meanwhile=None):
        self.done.append("stage")

    def shift(self, rollout, meanwhile=lambda: None):
        self.done.append("paused" if rollout.paused else rollout.weight)
        meanwhile()
        if "shift" in self.when:
            raise self.when["shift"]

    def verify(self, rollout, golden):
        return self.golden.pop(0) if self.golden else GOOD

    def metrics_problem(self, rollout):
        return self.unmeasured

    def observe(self, rollout):
        self.looks += 1
        if "observe" in self.when:
            raise self.when["observe"]
        return None if self.unreachable else self.total

    def promote(self, rollout):
        self.done.append("promote")

    def roll_back(self, rollout, *, finish=True):
        self.done.append("roll back")

    def status(self, model):
        return Status(model, "a place of the tests")

    def sleep(self, seconds):
        self.now += seconds
        if self.count is not None:
            self.total = self.total.plus(self.count)
        if self.now > 300:
            raise AssertionError("it does not end")


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def held(settings):
    return lease.begin(
        *(settings, LocalRecords(settings), "fuel", 2),
        champion=1,
        strategy="canary",
        owner="me",
        why="",
    )


def drive(held, place, **more):
    golden = Golden([], [])
    return Driver(held, place, golden, clock=lambda: place.now, sleep=place.sleep, **more)


def say(held, verb):
    """Give a command."""
    told = Command(verb, 2, "ada", "2026-01-02T03:04:05+00:00")
    record.change(held.records, "fuel", lambda now: replace(now, command=told))


def written(held):
    return held.records.read("fuel").rollout


def test_with_clients_every_stage_takes_its_time(held, place):
    place.count = TrafficStats(requests=2, champion_requests=8, shadow={"compared": 9})
    shown = []

    def tell(progress):
        shown.append((written(held).live.progress, progress))

    found = drive(held, place, tell=tell).verify()

    assert {before for before, _ in shown} == {now for _, now in shown}
    assert {now.partition(" % for ")[0] for _, now in shown} == {"0", "10", "50", "100"}
    assert "82 of 410 requests, error_rate 0 of 0.01" in shown[-1][0]
    assert (found.state, found.weight, found.left) == ("shifting", 100, ())
    assert found.live is None
    assert place.done == [0, 10, 50, 100]
    assert all(10 <= stage.seconds < 11 for stage in found.stages)
    assert all(stage.requests == pytest.approx(100, abs=5) for stage in found.stages)
    assert written(held) == found


@pytest.mark.parametrize("required", [False, True])
def test_metrics_out_of_reach_are_told_before_the_first_stage_or_end_the_rollout(
    held, place, required
):
    place.unmeasured = "The metrics of version 2 cannot be read."
    place.total = TrafficStats(unavailable=True)
    held.settings = held.settings.model_copy(update={"require_metrics": required})

    found = drive(held, place).verify()

    if required:
        assert (place.done, found.state) == (["roll back"], "rolled back")
        assert "(ROADWORTHY_REQUIRE_METRICS): The metrics of version 2" in found.problem
    else:
        assert place.done == [0, 10, 50, 100]
        assert written(held).metrics_problem == place.unmeasured
        assert "requests not counted" in str(found.stages[0])


def test_without_clients_all_stages_are_left_soon(held, place):
    found = drive(held, place).verify()

    assert place.now < 1
    assert [stage.quiet for stage in found.stages] == [True] * 4


def test_once_somebody_asked_the_further_stages_take_their_time(held, place):
    # given a single request, in the first stage
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        asked = place.now == pytest.approx(0.4)
        place.count = TrafficStats(champion_requests=1, shadow={"compared": 1}) if asked else None

    place.sleep = later

    found = drive(held, place).verify()

    assert all(stage.seconds >= 10 for stage in found.stages)


def test_a_champion_that_was_asked_before_is_in_use(held, place):
    place.total = TrafficStats(champion_requests=500)

    found = drive(held, place).verify()

    assert [stage.quiet for stage in found.stages] == [True] * 4
    assert all(stage.seconds >= 10 for stage in found.stages)


def test_a_first_release_has_no_stages(held, place):
    held.put(replace(held.rollout, champion=0))

    found = drive(held, place).verify()

    assert (found.state, found.stages, place.done) == ("verified", (), [])


def test_bad_metrics_end_a_stage_at_once(held, place):
    place.count = TrafficStats(requests=5, fallbacks={"error": 5}, champion_requests=5)

    found = drive(held, place).verify()

    assert (found.state, place.done) == ("rolled back", [0, "roll back"])
    assert place.now < 2
    assert "it failed" in found.problem
    assert found.stages[-1].problem == found.problem
    assert not found.settled


def test_errors_of_few_requests_are_looked_at_longer_and_never_passed(held, place):
    # given a challenger that hangs, and so is seen to fail now and then only
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        hung = place.now == pytest.approx(1) or place.now == pytest.approx(20)
        place.count = TrafficStats(champion_requests=1, shadow={"timeout": 1} if hung else {})

    place.sleep = later

    found = drive(held, place).verify()

    assert (found.state, place.done) == ("rolled back", [0, "roll back"])
    assert "it failed 2 of 2 requests, and no more came" in found.problem


def test_errors_of_several_stages_are_taken_together(held, place):
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        failed = place.done[-1] if place.now % 5 < 0.2 else 0
        place.count = TrafficStats(
            requests=1,
            champion_requests=1,
            fallbacks={"error": 1} if failed else {},
            shadow={"compared": 2},
        )

    place.sleep = later

    assert drive(held, place).verify().state == "rolled back"


def test_a_golden_batch_that_is_answered_otherwise_ends_it_before_any_traffic(held, place):
    place.golden = [replace(GOOD, problem="an answer differs")]

    found = drive(held, place).verify()

    assert (found.state, found.problem) == ("rolled back", "an answer differs")
    assert place.done == ["roll back"]


def test_a_golden_batch_is_asked_at_each_stage(held, place):
    place.golden = [GOOD, GOOD, GOOD, replace(GOOD, problem="an answer differs")]

    found = drive(held, place).verify()

    assert place.done == [0, 10, 50, "roll back"]
    assert [stage.weight for stage in found.stages] == [0, 10, 50]
    assert found.stages[-1].golden is None


def test_a_server_that_stays_away_is_a_problem(held, place):
    place.unreachable = True

    found = drive(held, place).verify()

    assert found.state == "rolled back"
    assert "returned no metrics for 30 s" in found.problem
    assert 30 < place.now < 32


def read_every(place, seconds, **counted):
    """Let metrics be read now and then, as Prometheus does."""
    sleep = place.sleep

    def later(pause):
        before = place.now
        sleep(pause)
        if place.now // seconds > before // seconds:
            place.total = place.total.plus(TrafficStats(**counted))

    place.sleep = later
    place.total = TrafficStats(reads=0, champion_reads=0)


def test_a_stage_goes_on_until_both_versions_were_read_twice(held, place):
    read_every(place, 8, reads=1, champion_reads=1)

    found = drive(held, place).verify()

    assert found.state == "shifting"
    assert all(8 <= stage.seconds < 17 for stage in found.stages)
    assert place.now > 4 * 8


@pytest.mark.parametrize(
    ("read", "unread"),
    [({"reads": 1}, "version 1"), ({"champion_reads": 1}, "version 2"), ({}, "version 2 and 1")],
    ids=["the version alone", "the champion alone", "nothing"],
)
def test_a_stage_that_nobody_reads_is_none(held, place, read, unread):
    read_every(place, 1, **read)

    found = drive(held, place).verify()

    assert found.state == "rolled back"
    unread = unread.replace(" and ", " and version ")
    assert f"did not read the metrics of {unread} twice" in found.problem
    assert place.done == [0, "roll back"]
    assert 40 <= place.now < 42  # what a stage and a start may take


def test_a_weight_that_the_server_does_not_take_is_a_problem(held, place):
    place.when["shift"] = RolloutError("it did not get 0 %")

    found = drive(held, place).verify()

    assert found.problem == "it did not get 0 %"
    assert place.done == [0, "roll back"]


def test_a_routing_file_that_somebody_else_rolled_back_is_left_to_them(held, place):
    place.when["shift"] = RolledBackError("rolled back by ada")

    found = drive(held, place).verify()

    assert (found.state, found.problem) == ("rolled back", "rolled back by ada")
    assert place.done == [0]
    assert written(held).state == "shifting"


def test_it_goes_on_where_it_was(held, place):
    driver = drive(held, place)
    held.move("ready")
    held.move("verified")
    first = driver.verify()
    held.put(replace(first, stages=first.stages[:2]))
    place.done.clear()

    found = drive(held, place).verify()

    assert place.done == [50, 100]
    assert found.stages[:2] == first.stages[:2]


def test_a_user_aborts(held, place):
    say(held, "abort")

    found = drive(held, place).verify()

    assert (found.state, found.problem) == ("rolled back", "aborted by ada")
    assert place.done == ["roll back"]


def test_a_user_promotes(held, place):
    say(held, "promote")

    found = drive(held, place).verify()

    assert (found.by_hand, place.done) == ("ada", [])
    assert held.move("promoted").state == "promoted"


def test_what_a_user_promotes_while_the_server_restarts_answers_its_golden_batch(held, place):
    place.golden = [replace(GOOD, problem="got no answer", unreachable=True), GOOD]
    say(held, "promote")

    found = drive(held, place).verify()

    assert (found.state, found.by_hand, place.golden, place.done) == ("verified", "ada", [], [])


def test_a_record_that_cannot_be_written_takes_the_version_out_of_service(held, place):
    place.count = TrafficStats(champion_requests=5, shadow={"compared": 5})
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        if place.now > 5:
            (held.settings.home / "rollouts" / "fuel.json").write_text("{")

    place.sleep = later

    with pytest.raises(RolloutError, match="cannot be read"):
        drive(held, place).verify()

    assert place.done == [0, "roll back"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_a_driver_that_breaks_off_takes_the_version_with_it(held, place, error):
    place.when["observe"] = error

    with pytest.raises(type(error)):
        drive(held, place).verify()

    assert place.done == [0, "roll back"]
    found = written(held)
    assert (found.state, "me was interrupted" in found.problem) == ("rolled back", True)


def test_a_driver_that_lost_the_rollout_leaves_the_service_to_the_other(held, place):
    place.when["observe"] = lease.ConflictError("was taken over")

    with pytest.raises(lease.ConflictError):
        drive(held, place).verify()

    assert place.done == [0]


def test_a_pause_stops_the_time_and_not_the_analysis(held, place):
    place.count = TrafficStats(champion_requests=5, shadow={"compared": 5})
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        if place.now == pytest.approx(2):
            say(held, "pause")
        if place.now == pytest.approx(60):
            place.count = TrafficStats(shadow={"error": 1})

    place.sleep = later

    found = drive(held, place).verify()

    assert found.state == "rolled back"
    assert place.done == [0, "paused", "roll back"]
    assert place.now > 60


def test_a_pause_ends_when_a_user_says_so(held, place):
    place.count = TrafficStats(champion_requests=5, shadow={"compared": 5})
    sleep = place.sleep

    def later(seconds):
        sleep(seconds)
        for moment, verb in ((2, "pause"), (40, "resume")):
            if place.now == pytest.approx(moment):
                say(held, verb)

    place.sleep = later

    found = drive(held, place).verify()

    assert found.left == ()
    assert place.done == [0, "paused", 0, 10, 50, 100]
    assert 77 < place.now < 82


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RolloutError("it did not come up"), "it did not come up"),
        (StoreError("the store refuses"), "me was interrupted: the store refuses"),
    ],
)
def test_a_version_that_cannot_be_staged_is_off_again(held, place, error, told):
    def refuse(rollout, bundle, meanwhile=None):
        raise error

    place.stage = refuse
    with pytest.raises(type(error)) as caught:
        drive(held, place).stage(None)

    assert caught.value is error
    found = written(held)
    assert (found.state, found.problem) == ("rolled back", told)
    assert place.done == ["roll back"]
