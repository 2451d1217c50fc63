"""On a real API server, with real model servers behind a controller that may behave badly."""

import itertools
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from kubernetes import config
from kubernetes.client import ApiClient, AutoscalingV1Api, CoreV1Api

from roadworthy.bundles import stores
from roadworthy.bundles.bundle import Golden
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease, record
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RefusedError, RolledBackError, Rollout, RolloutError
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.rollout.kserve.kserve_target import KServeTarget
from roadworthy.rollout.kserve.serving_runtime import APPLIED_AT
from roadworthy.tracking.registry import Registry
from tests.rollout import strictly
from tests.rollout.controller import MODEL, Controller, Gateway, Servers, configure

CAR = {"instances": [{"weight_kg": 1200, "year": 1980}]}
AT = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    made = Servers(tmp_path_factory.mktemp("servers"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(servers):
    made = Gateway(servers)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def crds(kube, requires):
    directory = requires.variable("KSERVE_CRDS", "name a directory with the YAML of KServe's CRDs")
    kinds = ("InferenceService", "ServingRuntime")
    return {kind: strictly.schema(Path(directory), kind) for kind in kinds}


@pytest.fixture(scope="module")
def api(kube):
    made = config.new_client_from_config(str(kube.kubeconfig))
    made.configuration.retries = False
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}})
    return made


@dataclass
class Clients:
    """Who asks all the time."""

    url: str
    host: str
    answers: list = field(default_factory=list)

    @contextmanager
    def asking(self):
        stop = threading.Event()
        thread = threading.Thread(target=self._ask, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(30)

    def _ask(self, stop):
        with httpx.Client(
            base_url=self.url, headers={"host": self.host}, trust_env=False
        ) as client:
            while not stop.wait(0.02):
                answer = client.post(f"/v1/models/{MODEL}:predict", json=CAR, timeout=20)
                told = answer.headers.get("x-roadworthy-version", "nobody")
                self.answers.append((answer.status_code, told))

    @property
    def failed(self):
        return [answer for answer in self.answers if answer[0] != 200]

    @property
    def last(self):
        return {told for _, told in self.answers[-3:]}


class Watched(Cluster):
    """A cluster that keeps what is applied, and may be changed by somebody between two steps."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.applied = []
        self.before = self.before_record = lambda: None

    def apply_service(self, manifest, *, force):
        self.applied.append(manifest)
        self.before()
        return super().apply_service(manifest, force=force)

    def apply_runtime(self, manifest):
        self.applied.append(manifest)
        return super().apply_runtime(manifest)

    def annotate_budget(self, found, annotations):
        self.before_record()
        return super().annotate_budget(found, annotations)


@dataclass
class Place:
    """A namespace with a controller, and what a test does there."""

    api: ApiClient
    controller: Controller
    settings: Settings
    kserve: KServeSettings
    clients: Clients
    bundles: dict
    crds: dict
    uids: set = field(default_factory=set)

    def __post_init__(self):
        namespace = self.controller.namespace
        self.cluster = Watched(self.api, namespace, self.settings.ready_seconds)
        self.target = KServeTarget(self.settings, self.kserve, self.cluster, self.digest)

    def digest(self, model, version):
        return self.bundles[version].digest

    def rollout(self, version=3, champion=2, **more):
        who = (MODEL, version, champion, "canary", "me", "h", AT, AT)
        return Rollout(*who, **more)

    def put_on(self, version):
        """Put a first version deployed."""
        first = self.rollout(version, 0)
        self.target.stage(first, self.bundles[version])
        self.target.promote(replace(first, state="promoted"))
        self.uids.add(self.live["metadata"]["uid"])

    def stage(self, version=3, champion=2):
        rollout = self.rollout(version, champion)
        self.target.stage(rollout, self.bundles[version])
        return rollout

    def weight(self, rollout, weight):
        shifted = replace(rollout, state="shifting", weight=weight)
        self.target.shift(shifted)
        return shifted

    def back(self, rollout, why="it is bad"):
        """Take a version off as a driver does, and once more when the rollout is finalised."""
        off = replace(rollout, state="rolled back", weight=0, problem=why)
        self.target.roll_back(off, finish=False)
        self.target.roll_back(off)

    def begin(self, settings, version=3, champion=2):
        """Begin a rollout as the pipeline does."""
        registry = Registry.of(settings)
        run = registry.log_candidate(
            MODEL, name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
        )
        for number in range(1, version + 1):
            digest = self.bundles[number].digest if number in self.bundles else str(number)
            registry.register(MODEL, run_id=run, digest=digest, tags={})
        registry.set_alias(registry.version(MODEL, champion), "champion")
        return lease.begin(
            *(settings, self.target.records, MODEL, version),
            champion=champion,
            strategy="canary",
            owner="me",
            why="",
        )

    def drive(self, settings, version=3):
        """Roll a version out as the pipeline does."""
        held = self.begin(settings, version)
        driver = Driver(held, self.target, _few(self.bundles[version].golden))
        try:
            driver.stage(self.bundles[version])
            driver.verify()
        finally:
            if held.rollout.state == "rolled back":
                finalising.settle(held, self.target, Registry.of(settings))
        if held.rollout.state != "rolled back":
            finalising.promote(held, self.target, Registry.of(settings))
        return held

    def use_image(self, image):
        """Let deploy/ apply another serving image."""
        container = {"name": "kserve-container", "image": image}
        path = f"{_runtimes(self.kserve.namespace)}/{self.kserve.runtime}"
        self.controller.ask("PATCH", path, {"spec": {"containers": [container]}})

    @property
    def live(self):
        return self.controller.get()

    def wait(self, until):
        for _ in range(600):
            if until():
                return
            time.sleep(0.02)
        raise AssertionError("it does not come to that")

    def wait_for_answers(self, count=8):
        before = len(self.clients.answers)
        self.wait(lambda: len(self.clients.answers) >= before + count)

    def check(self, version):
        """See that nobody was refused, and who answers; and what was applied all the time."""
        self.wait_for_answers()
        assert self.clients.failed == []
        assert self.clients.last == {str(version)}
        self.uids.add(self.live["metadata"]["uid"])
        assert len(self.uids) == 1
        for manifest in self.cluster.applied:
            assert strictly.problems(self.crds[manifest["kind"]], manifest) == []


@pytest.fixture
def make(kube, api, gateway, crds, packed, simple, tmp_path):
    """Make a namespace where version 2 is the champion, and clients ask."""
    with ExitStack() as stack:

        def made(mode, *, champion=2, ready_seconds=20.0, **more):
            namespace = kube.namespace()
            configure(api, mode)
            _add_runtime(api, namespace)
            controller = Controller(api, namespace, gateway, mode)
            place = Place(
                api,
                stack.enter_context(controller.running()),
                Settings(
                    home=tmp_path / "home",
                    bundle_store=f"file://{tmp_path / 'store'}",
                    ready_seconds=ready_seconds,
                    stage_seconds=0.2,
                    quiet_seconds=0.1,
                    actor="tester",
                ),
                KServeSettings(
                    namespace=namespace,
                    endpoint=gateway.url,
                    version_endpoint=gateway.url,
                    poll_seconds=0.05,
                    **{"patience_seconds": 0.3, **more},
                ),
                Clients(gateway.url, controller.host),
                {2: simple, 3: packed},
                crds,
            )
            if champion:
                place.put_on(champion)
                stack.enter_context(place.clients.asking())
            return place

        yield made
        gateway.failing.clear()


@pytest.fixture(params=["Knative", "Standard"])
def mode(request):
    return request.param


def test_a_first_version_comes_in_service(make, mode, packed):
    place = make(mode, champion=0)
    rollout = place.rollout(3, 0)

    place.target.stage(rollout, packed)
    # KServe may tell the common address later than the version's own: a driver asks again then.
    place.wait(lambda: (place.live.get("status") or {}).get("url"))
    found = place.target.verify(rollout, _few(packed.golden))
    place.target.promote(replace(rollout, state="promoted"))

    assert found.good, found.problem
    status = place.target.status(MODEL)
    assert (status.champion, status.challenger, status.ready) == (3, 0, True), status
    assert status.place == f"fuel in the namespace {place.kserve.namespace} ({mode})"
    with place.clients.asking():
        place.check(3)
    assert place.controller.restarts == [3]


def test_a_first_version_that_is_bad_answers_nobody_and_may_be_followed(make, mode, packed):
    place = make(mode, champion=0)
    rollout = place.rollout(2, 0)
    place.target.stage(rollout, place.bundles[2])
    uid = place.live["metadata"]["uid"]

    place.back(rollout)

    status = place.target.status(MODEL)
    assert (status.champion, status.ready) == (0, False)
    place.put_on(3)
    assert place.uids == {uid}
    with place.clients.asking():
        place.check(3)


def test_a_version_goes_through_all_stages(make, mode, packed):
    place = make(mode)
    rollout = place.stage()
    seen = []

    for weight in (0, 10, 50, 100):
        rollout = place.weight(rollout, weight)
        assert place.target.verify(rollout, _few(packed.golden)).good
        place.wait_for_answers(12)
        status = place.target.status(MODEL)
        seen.append((status.champion, status.challenger, status.weight))
    place.target.promote(replace(rollout, state="promoted", weight=0))

    assert seen == [(2, 3, 0), (2, 3, 10), (2, 3, 50), (2, 3, 100)]
    place.check(3)
    asked = Counter(told for _, told in place.clients.answers)
    assert min(asked["2"], asked["3"]) > 3
    # no weight, no promotion and nothing else made the pods of a version anew
    assert place.controller.restarts == [2, 3]


def test_clients_have_as_many_pods_as_before(make):
    # given a champion that the autoscaler gave more pods than the fewest, and pods that are slow
    place = make("Standard", max_replicas=8)
    controller = place.controller
    controller.load = 8
    place.wait(lambda: controller.capacity[-1:] == [8])
    controller.slow.update({2: 0.2, 3: 0.2})
    before = len(controller.capacity) - 1

    # when a version has a weight and is taken off, another one is promoted by hand and then it is
    # rolled back
    place.back(place.weight(place.weight(place.stage(), 10), 50))
    place.wait_for_answers()
    rollout = place.weight(place.stage(), 10)
    place.target.promote(replace(rollout, state="promoted", weight=0))
    place.wait_for_answers()
    place.target.put_back(RollbackIntent(MODEL, 2, (3,), "ada", AT, "x"))

    # then there never were fewer pods for what each version had
    place.check(2)
    assert min(controller.capacity[before:]) == 8
    assert len(controller.capacity) > before + 1


def test_a_weight_waits_for_all_its_pods(make):
    place = make("Standard", min_replicas=4, ready_seconds=2)
    rollout = place.weight(place.stage(), 10)
    place.controller.slow[3] = float("inf")

    with pytest.raises(RolloutError, match=r"1 of its 2 pods are ready"):
        place.weight(rollout, 50)

    assert place.target.status(MODEL).weight == 10
    place.back(rollout)
    place.check(2)


def test_a_gateway_that_ignores_weights_is_seen(make):
    place = make("Standard")
    place.controller.ignores_weights = True
    rollout = place.weight(place.stage(), 10)

    found = place.target.verify(rollout, _few(place.bundles[3].golden))

    assert "none of 132 requests" in found.problem
    assert found.unreachable  # it is asked again for a while
    place.check(2)


def test_without_a_split_of_traffic_nothing_begins(make, api):
    place = make("Standard")
    configure(api, "Standard", gateway_api=False)

    for begin in (lambda: place.target.check("canary"), place.stage):
        with pytest.raises(RolloutError, match="set enableGatewayApi to true under `ingress`"):
            begin()
    place.check(2)


@pytest.mark.parametrize("weight", [0, 50, 100])
def test_a_version_that_is_taken_off_leaves_the_champion(make, mode, weight):
    place = make(mode)
    rollout = place.weight(place.stage(), weight)

    place.back(rollout)

    answers = len(place.clients.answers)
    place.check(2)
    assert {told for _, told in place.clients.answers[answers:]} == {"2"}
    status = place.target.status(MODEL)
    assert (status.champion, status.challenger, status.problem) == (2, 0, "")
    assert place.controller.restarts.count(2) == (2 if mode == "Knative" else 1)


def test_a_rollout_is_driven_to_its_end(make, mode, settings):
    place = make(mode)

    held = place.drive(settings.model_copy(update=_brief(place)))

    assert held.rollout.state == "promoted"
    assert held.rollout.settled
    place.check(3)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("image", "image cannot be pulled"),
        ("crash", "lacks model.onnx"),
    ],
)
def test_a_version_that_cannot_come_up_is_told_at_once(make, mode, what, told):
    place = make(mode, ready_seconds=120)
    place.controller.bad[3] = what

    with pytest.raises(RefusedError, match=told) as caught:
        place.stage()

    assert "\n" not in str(caught.value)
    place.back(place.rollout())
    place.check(2)


def test_a_quota_is_told(make, mode):
    place = make(mode, ready_seconds=120)
    core = CoreV1Api(place.api)
    namespace = place.kserve.namespace
    quota = core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}}
    )
    quota.status.hard, quota.status.used = {"pods": "0"}, {"pods": "0"}
    core.replace_namespaced_resource_quota_status("small", namespace, quota)
    place.controller.bad[3] = "quota"

    with pytest.raises(RefusedError, match=r"quota does not allow its pod .*exceeded quota: small"):
        place.stage()

    place.back(place.rollout())
    place.check(2)


def test_a_version_that_is_slow_is_waited_for(make, mode, packed):
    place = make(mode)
    place.controller.slow[3] = 1.5
    waited = []

    rollout = place.rollout()
    place.target.stage(rollout, packed, lambda: waited.append(1))

    assert len(waited) > 3
    assert place.target.verify(rollout, _few(packed.golden)).good
    place.check(2)


def test_a_conflict_on_every_other_write_is_borne(make, mode):
    place = make(mode)
    turns = itertools.count()

    def disturb():
        turn = next(turns)
        if turn % 2 == 0:
            label = {"metadata": {"labels": {"turn": str(turn)}}}
            place.controller.ask("PATCH", place.controller.path, label)

    place.cluster.before = disturb
    notes = itertools.count()

    def disturb_record():
        turn = next(notes)
        if turn % 2 == 0:
            label = {"metadata": {"labels": {"turn": str(turn)}}}
            place.controller.ask("PATCH", place.cluster._budget(MODEL), label)

    place.cluster.before_record = disturb_record

    rollout = place.weight(place.weight(place.stage(), 10), 0)
    place.back(rollout)
    rollout = place.weight(place.stage(), 50)
    place.target.promote(replace(rollout, state="promoted", weight=0))

    intent = RollbackIntent(MODEL, 2, (3,), "ada", AT, "it is bad")
    record.leave(place.target.records, intent)
    record.forget(place.target.records, intent)

    assert next(turns) > 8
    assert next(notes) == 4  # each write of a record succeeds at the second try
    place.check(3)


def test_an_api_server_that_goes_in_the_middle_of_each_verb_is_waited_for(make, mode):
    place = make(mode, ready_seconds=60)
    there = place.api.configuration.host
    back = []

    @contextmanager
    def away(long=0.5):
        """Let nobody reach the API server from the next write on, for some seconds."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused

            def cut():
                place.cluster.before = lambda: None
                place.api.configuration.host = f"https://127.0.0.1:{nobody.getsockname()[1]}"
                back.append(threading.Timer(long, come_back))
                back[-1].start()

            before, place.cluster.before = len(back), cut
            try:
                yield
            finally:
                assert len(back) == before + 1
                back[-1].join()

    def come_back():
        place.api.configuration.host = there

    with away():
        rollout = place.stage()
    with away(10):
        rollout = place.weight(rollout, 50)
    with away():
        place.back(rollout)
    place.check(2)
    rollout = place.weight(place.stage(), 10)
    with away():
        place.target.promote(replace(rollout, state="promoted", weight=0))
    place.check(3)


@pytest.mark.parametrize("then", ["finished", "rolled back"])
def test_a_promotion_that_took_too_long_is_told_and_ended_by_who_comes_next(
    make, mode, settings, then
):
    # given a rollout that is promoted by hand, and a KServe that does nothing just then
    place = make(mode)
    settings = settings.model_copy(update=_brief(place))
    held = place.begin(settings)
    place.target.stage(held.rollout, place.bundles[3])
    held.put(replace(place.weight(held.rollout, 10), by_hand="ada"))
    place.controller.stalled = True
    short = place.settings.model_copy(update={"ready_seconds": 0.5})
    hasty = KServeTarget(short, place.kserve, place.cluster, place.digest)

    registry = Registry.of(settings)
    with pytest.raises(RolloutError, match=r"did not get .* within 0\.5 s"):
        finalising.promote(held, hasty, registry)

    # then that is to be seen, and nobody is the champion yet who was not
    found = place.target.records.read(MODEL).rollout
    assert (found.state, found.settled) == ("promoted", False)
    assert registry.aliased(MODEL, "champion").number == 2
    place.wait_for_answers()

    place.controller.stalled = False
    if then == "rolled back":
        note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "it took too long")
        place.target.put_back(note)
    finalising.catch_up(settings, registry, place.target, MODEL)

    version = 3 if then == "finished" else 2
    found = place.target.records.read(MODEL).rollout
    assert (found.state == "promoted", found.settled) == (version == 3, True)
    assert registry.aliased(MODEL, "champion").number == version
    assert place.target.records.read(MODEL).intent is None
    place.check(version)


def test_an_api_server_that_is_gone_is_waited_for_or_told(make, kube):
    place = make("Knative", ready_seconds=60)
    rollout = place.stage()
    short = Cluster(place.api, place.kserve.namespace, 0.5)
    hasty = KServeTarget(place.settings, place.kserve, short, place.digest)
    back = threading.Thread(target=kube.start_api)
    kube.stop_api()
    try:
        with pytest.raises(ClusterError, match=r"did not answer for 0.5 s"):
            hasty.shift(replace(rollout, state="shifting", weight=10))
        found = hasty.verify(rollout, _few(place.bundles[3].golden))
        status = hasty.status(MODEL)
    finally:
        back.start()
    rollout = place.weight(rollout, 50)
    back.join()

    assert found.unreachable
    assert "did not answer" in status.problem
    place.target.promote(replace(rollout, state="promoted", weight=0))
    place.check(3)


def test_a_field_that_somebody_else_holds_is_told_with_who(make, mode):
    place = make(mode)
    rollout = place.weight(place.stage(), 10)
    spec = place.live["spec"]
    if mode == "Knative":
        spec["predictor"]["canaryTrafficPercent"] = 90
    else:
        spec["canary"][0]["trafficPercent"] = 90
    place.api.call_api(
        place.controller.path,
        "PATCH",
        header_params={"Content-Type": "application/merge-patch+json"},
        query_params=[("fieldManager", "somebody")],
        body={"spec": spec},
        response_type="object",
        auth_settings=["BearerToken"],
    )

    with pytest.raises(ClusterError, match='conflict with "somebody"'):
        place.target.shift(replace(rollout, weight=50))

    # but what is bad comes off all the same
    place.back(rollout)
    place.check(2)


def test_who_rolled_back_meanwhile_is_heeded(make, mode):
    place = make(mode)
    rollout = place.stage()
    note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "I do not like it")

    def meddle():
        place.cluster.before = lambda: None
        place.target.put_back(note)

    place.cluster.before = meddle

    with pytest.raises(RolledBackError, match="rolled back by ada"):
        place.weight(rollout, 50)

    with pytest.raises(RolledBackError):
        place.target.observe(rollout)
    place.check(2)
    record.forget(place.target.records, note)
    assert place.target.records.read(MODEL).intent is None


def test_the_version_before_is_put_back(make, mode):
    place = make(mode)
    place.target.promote(replace(place.weight(place.stage(), 100), state="promoted", weight=0))
    note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "it is bad")

    place.target.put_back(note)
    place.target.put_back(note)

    assert place.target.records.read(MODEL).intent == note
    record.forget(place.target.records, note)
    place.check(2)
    status = place.target.status(MODEL)
    assert (status.champion, status.challenger, status.ready) == (2, 0, True), status


def test_another_serving_image_comes_with_the_next_version_and_goes_with_it(make, mode, packed):
    place = make(mode)
    place.use_image("roadworthy/serving:other")

    # when a version is staged after that, gets a weight, and is rolled back
    rollout = place.weight(place.stage(), 50)
    assert place.target.verify(rollout, _few(packed.golden)).good
    place.back(rollout)

    # then it alone was served by that image, and no pod of the champion was made for it
    place.check(2)
    assert {image for version, image in place.controller.images if version == 3} == {
        "roadworthy/serving:other"
    }
    assert {image for version, image in place.controller.images if version == 2} == {
        "roadworthy/serving:none"
    }


def test_what_a_version_leaves_is_cleaned_up_with_it(make):
    # given a copy of the ServingRuntime that a version used long ago, and one of somebody's own
    place = make("Standard")
    path = _runtimes(place.kserve.namespace)
    first = place.live["spec"]["predictor"]["model"]["runtime"]
    place.use_image("roadworthy/serving:long-ago")
    place.back(place.stage())
    long_ago = {"metadata": {"annotations": {APPLIED_AT: AT}}}
    copies = {one["metadata"]["name"] for one in place.controller.ask("GET", path)["items"]}
    for name in copies:
        place.controller.ask("PATCH", f"{path}/{name}", long_ago)
    place.use_image("roadworthy/serving:new")

    # when the next version is promoted
    rollout = place.weight(place.stage(), 100)
    place.target.promote(replace(rollout, state="promoted", weight=0))

    # then what serves is kept, and what a rollback returns to, and nothing else that is ours
    place.check(3)
    now = place.live["spec"]["predictor"]["model"]["runtime"]
    left = {one["metadata"]["name"] for one in place.controller.ask("GET", path)["items"]}
    assert left == {place.kserve.runtime, first, now}
    assert len(copies) == 3
    scalers = AutoscalingV1Api(place.api)
    found = scalers.list_namespaced_horizontal_pod_autoscaler(place.kserve.namespace).items
    assert [one.metadata.name for one in found] == ["fuel-v3-predictor"]


def test_a_version_whose_revision_is_gone_is_made_anew(make, mode, packed):
    # given that Knative never had the version before
    place = make(mode, champion=3)
    stores.publish(place.settings.bundle_store, place.bundles[2])
    note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "it is bad")

    place.target.put_back(note)

    place.check(2)


def test_a_version_put_back_that_does_not_come_up_leaves_what_answers(make, mode):
    place = make(mode, champion=3, ready_seconds=30)
    stores.publish(place.settings.bundle_store, place.bundles[2])
    place.controller.bad[2] = "image"
    note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "it is bad")

    with pytest.raises(RefusedError, match="image cannot be pulled"):
        place.target.put_back(note)

    place.check(3)


def test_a_pending_rollback_that_a_kill_left_is_done(make, mode):
    # given an intent, and a version that it takes off
    place = make(mode)
    place.weight(place.stage(), 50)
    note = RollbackIntent(MODEL, 2, (3,), "ada", AT, "killed")
    record.leave(place.target.records, note)

    assert place.target.redo(note)

    assert place.target.status(MODEL).challenger == 0
    place.check(2)


def test_a_cluster_that_lost_its_champion_gets_it_again(make, mode):
    # given a registry whose champion is not there
    place = make(mode, champion=0)

    rollout = place.stage()

    status = place.target.status(MODEL)
    assert (status.champion, status.challenger) == (2, 3)
    with place.clients.asking():
        place.uids.add(place.live["metadata"]["uid"])
        place.weight(rollout, 0)
        place.check(2)


def test_what_is_missing_is_told_with_the_command_that_mends_it(make, api, tmp_path):
    place = make("Standard", champion=0)
    other = place.kserve.model_copy(update={"runtime": "other"})
    target = KServeTarget(place.settings, other, place.cluster, place.digest)
    here = place.settings.model_copy(update={"bundle_store": str(tmp_path)})

    with pytest.raises(RolloutError, match=r"no ServingRuntime other: `deploy/render"):
        target.check("canary")
    with pytest.raises(RolloutError, match="s3://bucket/bundles in ROADWORTHY_BUNDLE_STORE"):
        KServeTarget(here, place.kserve, place.cluster, place.digest).check("canary")
    with pytest.raises(RolloutError, match="no pod is replaced"):
        place.target.check("rolling")
    silent = place.settings.model_copy(update={"prometheus_url": "http://127.0.0.1:9"})
    with pytest.raises(RolloutError, match=r"ROADWORTHY_PROMETHEUS_URL names .*unset it"):
        KServeTarget(silent, place.kserve, place.cluster, place.digest).check("canary")
    assert "no InferenceService" in place.target.status(MODEL).problem


def test_without_rights_the_remedy_is_told(make, kube):
    place = make("Standard", champion=0)
    namespace = place.kserve.namespace
    kube.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    poor = config.new_client_from_config(str(kube.kubeconfig_for("nobody", namespace)))

    target = KServeTarget(place.settings, place.kserve, Cluster(poor, namespace, 5), place.digest)

    with pytest.raises(ClusterError, match=r"refuses access .* roadworthy-pipeline"):
        target.check("canary")


def _few(golden):
    """Return some requests of a golden batch: each goes through two proxies made for tests."""
    return Golden(golden.requests[:3], golden.answers[:3])


def _brief(place):
    """Return the settings of a place that the driver of a test is to have."""
    names = ("bundle_store", "stage_seconds", "quiet_seconds", "ready_seconds")
    return {name: getattr(place.settings, name) for name in names}


def _add_runtime(api, namespace):
    container = {"name": "kserve-container", "image": "roadworthy/serving:none"}
    body = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "roadworthy"},
        "spec": {
            "supportedModelFormats": [{"name": "roadworthy", "version": "1", "autoSelect": True}],
            "containers": [container],
        },
    }
    options = {"response_type": "object", "auth_settings": ["BearerToken"]}
    api.call_api(_runtimes(namespace), "POST", body=body, **options)


def _runtimes(namespace):
    return f"/apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/servingruntimes"
