"""Prometheus tells of all pods; what each series grew by is what was counted."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from roadworthy.rollout.cluster import Cluster, ClusterError
from roadworthy.rollout.figures import Figures
from roadworthy.rollout.judgement import Bounds, Counts, judge


@pytest.fixture
def prometheus():
    """A server with Prometheus's HTTP API, which has the series that it is given."""
    series, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            told = [{"metric": labels, "value": [0, str(value)]} for labels, value in series]
            body = json.dumps({"status": "success", "data": {"result": told}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", series, asked
    server.shutdown()
    server.server_close()


def requests(pod, version, status, value):
    labels = {"__name__": "roadworthy_requests_total", "pod": pod, "model": "fuel"}
    return labels | {"version": str(version), "status": str(status)}, value


def seconds(pod, version, edge, value):
    labels = {"__name__": "roadworthy_request_seconds_bucket", "pod": pod, "model": "fuel"}
    return labels | {"version": str(version), "le": edge}, value


def test_the_pods_of_both_versions_are_summed(prometheus):
    url, series, asked = prometheus
    series += [
        requests("a", 2, 200, 90),
        requests("b", 2, 200, 10),
        requests("c", 3, 200, 6),
        requests("d", 3, 500, 4),
        seconds("c", 3, "0.1", 5),
        seconds("c", 3, "+Inf", 6),
        seconds("a", 2, "+Inf", 90),
    ]

    found = Figures(url, "roadworthy", "fuel").count(2, 3)

    assert (found.requests, found.failures, found.champion_requests) == (10, 4, 100)
    assert found.seconds == {0.1: 5, float("inf"): 6}
    assert "namespace%3D%22roadworthy%22" in asked[0]
    assert "error" in judge(found, found, Bounds()).problem


def test_a_pod_that_goes_takes_nothing_away_and_one_made_anew_begins_at_none(prometheus):
    url, series, _ = prometheus
    figures = Figures(url, "roadworthy", "fuel")
    series[:] = [requests("a", 3, 200, 50), requests("b", 3, 200, 40)]
    before = figures.count(2, 3)

    series[:] = [requests("a", 3, 200, 5), requests("c", 3, 200, 2)]
    after = figures.count(2, 3)

    assert (before.requests, after.requests) == (90, 97)
    assert after.since(before).requests == 7


@pytest.mark.parametrize("answer", ["", '{"data": {"result": [{"metric": {}, "value": [0]}]}}'])
def test_what_does_not_tell_is_none(answer, httpserver_of):
    assert Figures(httpserver_of(answer), "roadworthy", "fuel").count(2, 3) is None


def test_nobody_there_is_none():
    assert Figures("http://127.0.0.1:1", "roadworthy", "fuel").count(2, 3) is None


def test_where_nobody_counts_there_may_be_customers():
    blind = Counts(blind=True)

    assert blind.traffic == 1
    assert blind.since(blind).plus(Counts()).blind
    assert judge(blind, blind, Bounds()).problem == ""


@pytest.fixture
def httpserver_of():
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *words):
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_there_is_a_way_to_a_cluster_or_a_remedy(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(ClusterError, match="ROADWORTHY_KSERVE_CONTEXT"):
        Cluster.of("", "roadworthy", 1)
