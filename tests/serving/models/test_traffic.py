"""Which version answers: the requested one, or the one whose turn it is unless it fails."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from roadworthy.bundles.bundle import Manifest
from roadworthy.bundles.scoring import Scorer
from roadworthy.routing.routes import Release
from roadworthy.serving.http.protocol import Instances
from roadworthy.serving.models.circuit_breaker import BreakerLimits, CircuitBreaker
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore, ModelVersions
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.traffic import RefusedError, Request, Traffic
from roadworthy.serving.models.validation import RequestSchema
from tests import graphs

LIMITS = BreakerLimits(seconds=0.2, failures=3)
PREDICTIONS = {"y": {"quantiles": [0.0, 2.0, 4.0, 6.0, 8.0], "edges": [0.0, 5.0, 10.0]}}


def version(number: int, graph: bytes, most: int = 1000) -> LoadedVersion:
    """A version whose request is one number x, of at most so much."""
    number_x = {"type": "number", "minimum": -1000, "maximum": most}
    schema = {"properties": {"x": number_x}, "required": ["x"]}
    manifest = Manifest("m", "c", "d", "one", {}, {}, schema, {}, {})
    release = Release(number, "b", f"{number}" * 64, "2026-01-02T03:04:05+00:00")
    return LoadedVersion(release, manifest, {}, PREDICTIONS, Scorer(graph), RequestSchema(schema))


class Requests:
    """Traffic over a champion that answers x, and a challenger."""

    def __init__(self, challenger: LoadedVersion | None = None, **routing) -> None:
        self.champion = version(1, graphs.looping(1))
        breaker = None if challenger is None else CircuitBreaker(challenger.scorer, LIMITS)
        self.model = ModelVersions("m", self.champion, challenger, breaker=breaker, **routing)
        self.store = ModelStore()
        self.store.put(self.model)
        self.metrics = Metrics(self.store)
        self.traffic = Traffic(self.metrics)

    async def __call__(self, x: float, pinned: str | None = None) -> tuple[int, list[float]]:
        def read(loaded: LoadedVersion) -> Instances:
            return Instances(loaded.schema.columns(loaded.schema.rows([{"x": x}])))

        request = Request("v1", read, lambda _, answers, __: answers["y"].tolist())
        answer = await self.traffic.respond(self.model, pinned, request)
        return answer.loaded.version, answer.content

    def many(self, *values: float, pinned: str | None = None) -> list[tuple[int, list[float]]]:
        async def ask() -> list[tuple[int, list[float]]]:
            return [await self(x, pinned) for x in values]

        return asyncio.run(ask())

    def figures(self) -> dict[str, float]:
        return asyncio.run(self.samples())

    async def samples(self) -> dict[str, float]:
        families = text_string_to_metric_families((await self.metrics.text()).decode())
        return {
            " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): (
                sample.value
            )
            for family in families
            for sample in family.samples
        }


@given(weight=st.integers(0, 100), turns=st.integers(1, 3))
def test_each_hundred_requests_are_split_exactly_and_evenly(weight, turns):
    model = ModelVersions("m", weight=weight)

    asked = [model.is_challengers_turn() for _ in range(100 * turns)]

    assert sum(asked) == weight * turns
    for start in range(len(asked) - 10):
        assert abs(sum(asked[start : start + 10]) - weight / 10) < 2


@pytest.mark.parametrize("weight", [10, 50])
@pytest.mark.parametrize("period", [2, 4, 5, 10])
def test_both_versions_get_some_of_each_kind_where_a_client_sends_several_in_turn(weight, period):
    model = ModelVersions("m", weight=weight)

    asked = [model.is_challengers_turn() for _ in range(1000)]

    for kind in range(period):
        part = asked[kind::period]
        assert sum(part) == pytest.approx(len(part) * weight / 100, rel=0.2)


def test_the_models_are_timed_for_requests_that_name_no_version():
    requests = Requests(version(2, graphs.failing()), weight=50)

    requests.many(*[1.0] * 10)
    requests.many(*[1.0] * 10, pinned="2")

    figures = requests.figures()
    name = "roadworthy_model_seconds_count model=m version"
    assert figures[f"{name}=1"] + figures[f"{name}=2"] == 10


@pytest.mark.parametrize("weight", [0, 10, 50, 100])
def test_the_challenger_answers_by_weight_and_each_response_names_its_version(weight):
    requests = Requests(version(2, graphs.failing()), weight=weight)

    answered = requests.many(*[float(n % 10) for n in range(100)])

    assert Counter(number for number, _ in answered) == Counter({1: 100 - weight, 2: weight})
    assert [values for _, values in answered] == [[float(n % 10)] for n in range(100)]


def test_a_request_for_a_version_gets_it_whatever_the_weight():
    requests = Requests(version(2, graphs.failing()), weight=50)

    assert {number for number, _ in requests.many(*[1.0] * 10, pinned="1")} == {1}
    assert {number for number, _ in requests.many(*[1.0] * 10, pinned="2")} == {2}
    with pytest.raises(Rejection, match='Version "3" of m is not loaded here: there is 1 and 2'):
        requests.many(1.0, pinned="3")


@pytest.mark.parametrize(
    ("graph", "x", "reason"),
    [
        (graphs.failing(), 20.0, "error"),
        (graphs.rooted(), -1.0, "error"),
        (graphs.looping(graphs.ENDLESS), 1.0, "timeout"),
    ],
)
def test_where_the_challenger_fails_the_champion_answers(graph, x, reason, caplog):
    requests = Requests(version(2, graph), weight=100)

    with caplog.at_level(logging.WARNING):
        answered = requests.many(*[x] * 6)

    assert answered == [(1, [x])] * 6
    figures = requests.figures()
    # it is given up after some failures: then it is not even asked
    failures = figures[f"roadworthy_fallbacks_total model=m reason={reason} version=2"]
    given_up = figures["roadworthy_fallbacks_total model=m reason=breaker version=2"]
    assert (failures, given_up) == (3, 3)
    assert figures["roadworthy_requests_total model=m protocol=v1 status=200 version=1"] == 6
    assert caplog.messages.count(caplog.messages[0]) == 3
    assert caplog.messages[0].startswith("Version 2 of m did not answer, version 1 did: ")


def test_a_request_for_a_challenger_that_fails_is_refused():
    requests = Requests(version(2, graphs.failing()))

    with pytest.raises(RefusedError) as caught:
        requests.many(20.0, pinned="2")

    assert caught.value.rejection.status == 503
    assert "The challenger, version 2 of m, does not answer this request" in str(caught.value)
    assert caught.value.rejection.headers == {"retry-after": "1"}


def test_a_request_that_only_the_challenger_refuses_is_answered_by_the_champion():
    requests = Requests(version(2, graphs.failing(), most=5), weight=100)

    assert requests.many(7.0) == [(1, [7.0])]
    assert requests.figures()["roadworthy_fallbacks_total model=m reason=error version=2"] == 1


def test_a_request_that_both_refuse_is_no_failure_of_the_challenger():
    requests = Requests(version(2, graphs.failing()), weight=100)

    with pytest.raises(RefusedError) as caught:
        requests.many(2000.0)

    assert caught.value.rejection.status == 422
    requests.model = replace(
        requests.model, breaker=CircuitBreaker(Scorer(graphs.rooted()), LIMITS)
    )
    requests.model = replace(
        requests.model, champion=replace(requests.champion, scorer=Scorer(graphs.rooted()))
    )
    for _ in range(LIMITS.failures):
        with pytest.raises(RefusedError):
            requests.many(-1.0)
    assert requests.model.breaker is not None
    assert not requests.model.breaker.is_open
    figures = requests.figures()
    name = "roadworthy_requests_total model=m protocol=v1 status=422 version=1"
    assert figures[name] == 1 + LIMITS.failures
    assert not any(name.startswith("roadworthy_fallbacks_total ") for name in figures)


async def shadowed(requests: Requests, *values: float) -> dict[str, float]:
    """Send requests, and wait until both versions answered each."""
    for n, x in enumerate(values, start=1):
        await asyncio.sleep(0.02)  # at most 100 are compared per second
        await requests(x)
        for _ in range(1000):
            samples = await requests.samples()
            if sum(v for k, v in samples.items() if k.startswith("roadworthy_shadow_total ")) == n:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("a request was not compared")
    return await requests.samples()


@pytest.mark.parametrize("weight", [0, 100])
def test_both_versions_are_compared_on_the_same_requests(weight):
    requests = Requests(version(2, graphs.failing()), weight=weight, shadow=True)

    figures = asyncio.run(shadowed(requests, 1.0, 3.0, 5.0))

    assert figures["roadworthy_shadow_total challenger=2 model=m outcome=compared"] == 3
    for role in ("champion", "challenger"):
        labels = f"challenger=2 le=4.0 model=m output=y role={role}"
        assert figures[f"roadworthy_shadow_prediction_bucket {labels}"] == 2
    assert figures["roadworthy_shadow_difference_sum challenger=2 model=m output=y"] == 0
    # the comparisons are not counted as responses
    asked = sum(v for k, v in figures.items() if k.startswith("roadworthy_requests_total "))
    assert asked == 3


def test_a_challenger_that_answers_more_than_the_champion_has_not_failed():
    requests = Requests(version(2, graphs.failing()), weight=100, shadow=True)
    champion = version(1, graphs.looping(1), most=5)
    requests.model = replace(requests.model, champion=champion)

    figures = asyncio.run(shadowed(requests, 7.0))

    assert figures["roadworthy_shadow_total challenger=2 model=m outcome=skipped"] == 1
    assert figures["roadworthy_requests_total model=m protocol=v1 status=200 version=2"] == 1


@pytest.mark.parametrize(
    ("graph", "x", "outcome"),
    [
        (graphs.failing(), 20.0, "error"),
        (graphs.looping(graphs.ENDLESS), 1.0, "timeout"),
    ],
)
def test_a_challenger_that_fails_in_the_background_is_counted(graph, x, outcome):
    requests = Requests(version(2, graph), shadow=True)

    figures = asyncio.run(shadowed(requests, x))

    assert figures[f"roadworthy_shadow_total challenger=2 model=m outcome={outcome}"] == 1


def test_requests_for_a_version_and_without_shadow_are_not_compared():
    for routing, pinned in (({"shadow": True}, "1"), ({"shadow": False}, None)):
        requests = Requests(version(2, graphs.failing()), **routing)
        requests.many(1.0, 2.0, pinned=pinned)
        samples = requests.figures()
        assert not any(name.startswith("roadworthy_shadow_total ") for name in samples)
