"""Prometheus tells of all pods; what each series grew by is what was counted."""

import httpx
import pytest
import tenacity

from roadworthy.rollout.engine.analysis import Bounds, analyse
from roadworthy.rollout.kserve.prometheus import MetricsError, PrometheusStats, check
from tests.parts.answering import Reply
from tests.rollout.controller import Servers


@pytest.fixture
def prometheus(server_of):
    """A server with Prometheus's HTTP API, which has the series that it is given."""
    series, asked, moments = [], [], []

    def answer(request):
        asked.append(request.path)
        found = moments if "timestamp" in request.path else series
        told = [{"metric": labels, "value": [0, str(value)]} for labels, value in found]
        return Reply.of({"status": "success", "data": {"result": told}})

    return server_of(answer), series, asked, moments


def requests(pod, version, status, value):
    labels = {"__name__": "roadworthy_requests_total", "pod": pod, "model": "fuel"}
    return labels | {"version": str(version), "status": str(status)}, value


def seconds(pod, version, edge, value):
    labels = {"__name__": "roadworthy_model_seconds_bucket", "pod": pod, "model": "fuel"}
    return labels | {"version": str(version), "le": edge}, value


def test_the_pods_of_both_versions_are_summed(prometheus):
    url, series, asked, _ = prometheus
    series += [
        requests("a", 2, 200, 90),
        requests("b", 2, 200, 10),
        requests("c", 3, 200, 6),
        requests("d", 3, 500, 4),
        seconds("c", 3, "0.1", 5),
        seconds("c", 3, "+Inf", 6),
        seconds("a", 2, "+Inf", 90),
    ]

    found = PrometheusStats(url, "roadworthy", "fuel").count(2, 3)

    assert (found.requests, found.failures, found.champion_requests) == (10, 4, 100)
    assert found.seconds == {0.1: 5, float("inf"): 6}
    assert "namespace%3D%22roadworthy%22" in asked[0]
    assert "error" in analyse(found, found, Bounds()).problem


def test_a_pod_that_goes_takes_nothing_away_and_one_made_anew_begins_at_none(prometheus):
    url, series, *_ = prometheus
    figures = PrometheusStats(url, "roadworthy", "fuel")
    series[:] = [requests("a", 3, 200, 50), requests("b", 3, 200, 40)]
    before = figures.count(2, 3)

    series[:] = [requests("a", 3, 200, 5), requests("c", 3, 200, 2)]
    after = figures.count(2, 3)

    assert (before.requests, after.requests) == (90, 97)
    assert after.since(before).requests == 7


def test_what_a_pod_did_not_foresee_is_its_versions(prometheus):
    url, series, _, moments = prometheus
    moments += [({"version": "3", "pod": "a"}, 1.0), ({"version": "2", "pod": "b"}, 1.0)]
    for pod in ("a", "b", "of another model"):
        labels, count = requests(pod, "", 500, 4)
        del labels["version"]
        series.append((labels, count))

    found = PrometheusStats(url, "roadworthy", "fuel").count(2, 3)

    assert (found.requests, found.failures, found.champion_requests) == (4, 4, 4)


def test_a_version_was_read_when_each_of_its_pods_was(prometheus):
    url, *_, moments = prometheus
    figures = PrometheusStats(url, "roadworthy", "fuel")
    reads = []
    for first, second in ((100.0, 101.0), (100.0, 102.0), (103.0, 102.0)):
        moments[:] = [({"version": "3", "pod": "a"}, first), ({"version": "3", "pod": "b"}, second)]
        reads.append(figures.count(2, 3).reads)

    assert reads == [1, 1, 2]


@pytest.mark.parametrize("answer", ["", '{"data": {"result": [{"metric": {}, "value": [0]}]}}'])
def test_what_does_not_tell_is_none(answer, httpserver_of):
    assert PrometheusStats(httpserver_of(answer), "roadworthy", "fuel").count(2, 3) is None


@pytest.mark.parametrize("path", ["", "http://ada:secret@127.0.0.1:1", "nothing", "http://["])
def test_what_is_no_prometheus_is_refused_in_a_sentence_without_its_address(path, httpserver_of):
    with pytest.raises(MetricsError, match="unset it to read the pods") as caught:
        check(path or httpserver_of("a page"))

    assert "secret" not in str(caught.value)


FAILING = """
roadworthy_version{model="fuel",version="2",role="champion"} 1
roadworthy_requests_total{model="",version="",protocol="v1",status="500"} 3
roadworthy_requests_total{model="",version="",protocol="v1",status="404"} 5
"""


@pytest.fixture
def servers(tmp_path):
    made = Servers(tmp_path)
    yield made
    made.stop()


def ask(port, bundle, times):
    for _ in range(times):
        body = {"instances": bundle.golden.requests[:1]}
        url = f"http://127.0.0.1:{port}/v1/models/fuel:predict"
        httpx.post(url, json=body, trust_env=False).raise_for_status()


def until(found, wanted):
    """Ask again and again until what is found is as it is to be."""
    for attempt in tenacity.Retrying(
        wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(60), reraise=True
    ):
        with attempt:
            counted = found()
            assert counted is not None
            assert wanted(counted), counted
    return counted


def test_a_real_prometheus_tells_what_real_servers_counted(
    scraper, servers, packed, simple, httpserver_of
):
    # given pods of two versions, whom Prometheus reads, and one of another namespace
    place = f"n-{scraper.directory.name}"
    ports = [servers.port(1, str(packed.path)), servers.port(2, str(simple.path))]
    ask(ports[0], packed, 3)
    for pod, port in zip("ab", ports, strict=True):
        scraper.read(f"127.0.0.1:{port}", namespace=place, pod=pod)
    scraper.read(f"127.0.0.1:{ports[1]}", namespace="another", pod="z")
    check(scraper.url)
    figures = PrometheusStats(scraper.url, place, "fuel")
    before = until(
        lambda: figures.count(1, 2), lambda found: found.reads and found.champion_requests == 3
    )

    # when they are asked
    ask(ports[0], packed, 7)
    ask(ports[1], simple, 5)

    # then that is what was counted since, in requests and in times
    after = until(
        lambda: figures.count(1, 2),
        lambda found: (found.requests, found.champion_requests) == (5, 10),
    )
    grown = after.since(before)
    assert (grown.requests, grown.failures, grown.champion_requests) == (5, 0, 7)
    assert (grown.seconds[float("inf")], grown.champion_seconds[float("inf")]) == (5, 7)
    analysis = analyse(grown, grown, Bounds(min_requests=5))
    assert analysis.problem == ""
    assert 0 < analysis.champion_p99_ms < 60_000
    # and it is known how often that was read anew
    more = until(lambda: figures.count(1, 2), lambda found: found.reads > after.reads + 1)
    assert more.champion_reads > after.champion_reads

    # when a pod fails
    scraper.read(httpserver_of(FAILING).removeprefix("http://"), namespace=place, pod="c")
    # then those are failures of its version
    found = until(lambda: figures.count(1, 2), lambda found: found.failures)
    assert (found.requests, found.failures) == (8, 3)


@pytest.fixture
def httpserver_of(server_of):
    """Start servers each of which has one page, whatever it is asked."""
    return lambda page: server_of(lambda asked: Reply(body=page.encode()))
