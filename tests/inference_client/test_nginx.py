"""The page behind a real nginx with the conf of deploy/, before a real model server.

Only the port that nginx listens at and the address of the gateway are others than in a cluster, and
where a cluster has KServe's gateway there is a relay, which writes down what it is asked.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import tenacity

from roadworthy.serving.http import page
from tests.parts.answering import Asked, Reply, answered_by
from tests.ports import free_port

CAR = {"weight_kg": 1234, "year": 1980}
HOST = "fuel-roadworthy.models.example"
SECONDS = 30


@dataclass
class Relay:
    """Stands where a cluster has its gateway: writes down each request and passes it on."""

    to: str
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    def pass_on(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        answer = httpx.request(
            asked.method,
            f"{self.to}{asked.path.removeprefix('/')}",
            headers=dict(asked.headers),
            content=asked.body,
            trust_env=False,
            timeout=SECONDS,
        )
        kept = {"content-length", "content-encoding", "transfer-encoding"}
        headers = {name: value for name, value in answer.headers.items() if name not in kept}
        return Reply(answer.status_code, answer.content, headers)


@dataclass
class Nginx:
    """The client of a cluster, as a process of its own."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()


@pytest.fixture(scope="module")
def relay(service: Any) -> Iterator[Relay]:
    made = Relay(service.url)
    with answered_by(made.pass_on) as url:
        made.address = url.removeprefix("http://")
        yield made


@pytest.fixture(scope="module")
def new_nginx(
    requires: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Nginx]]:
    """Starts nginx before a gateway, and stops it by its process id in the end."""
    program = requires.program("nginx", "apt-get install nginx-light")
    made: list[Nginx] = []

    def start(gateway: str, secret: str = "") -> Nginx:
        home = tmp_path_factory.mktemp("nginx")
        _lay_out(home, root, secret)
        port = free_port()
        conf = home / "conf"
        _replace(conf / "nginx.conf", r"listen 8080;", f"listen 127.0.0.1:{port};")
        _replace(conf / "gateway.conf", r"server \S+:80;", f"server {gateway};")
        deployment = (root / "deploy/base/client/deployment.yaml").read_text()
        assert "command: [nginx, -e, stderr, -p, /client/, -c, conf/nginx.conf]" in deployment
        command = [program, "-e", "stderr", "-p", f"{home}/", "-c", "conf/nginx.conf"]
        if os.getuid() == 0:  # then it gives its rights up, and may not read what tests wrote
            command += ["-g", "user root;"]
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        made.append(Nginx(home, port, process))
        retry = tenacity.Retrying(
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(SECONDS),
            retry=tenacity.retry_if_exception_type(httpx.TransportError),
            reraise=True,
        )
        assert retry(httpx.get, f"{made[-1].url}healthz", trust_env=False).status_code == 204
        return made[-1]

    yield start
    for nginx in made:
        nginx.process.terminate()
        nginx.process.wait(SECONDS)


@pytest.fixture(scope="module")
def nginx(new_nginx: Callable[[str], Nginx], relay: Relay) -> Nginx:
    return new_nginx(relay.address)


@pytest.fixture
def asking(nginx: Nginx) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=nginx.url, trust_env=False, timeout=SECONDS) as client:
        yield client


def test_the_page_gets_its_answer_over_one_origin(
    visit: Callable[..., Any], nginx: Nginx, relay: Relay, service: Any
) -> None:
    # given the page, open in a browser
    visited = visit(nginx.url)
    visited.page.wait_for_selector("#model[data-state=ready]")

    # when a car is asked for
    visited.page.fill("#field-weight_kg", str(CAR["weight_kg"]))
    visited.page.fill("#field-year", str(CAR["year"]))
    asked = visited.predict()

    # then the model's answer is shown
    assert asked.items() >= CAR.items()
    answer = service.answer(asked)
    value = visited.page.locator("[data-output=l_per_100km] data").get_attribute("value")
    assert float(value) == answer["l_per_100km"]
    # and nothing was loaded from elsewhere or kept from loading, and nothing was amiss
    assert {url.startswith((nginx.url, "data:")) for url in visited.urls} == {True}
    assert visited.page.evaluate("window.violations") == []
    assert visited.problems == []
    # and KServe was asked by the name that it knows the model by
    paths = {asked.path for asked in relay.asked}
    assert {"/v1/models/fuel:predict", "/v2/models/fuel/card"} <= paths
    assert {asked.headers["host"] for asked in relay.asked} == {HOST}
    # and what was asked is in no log
    assert "/v1/models/fuel:predict" in nginx.log
    assert not re.search(r"weight_kg|1234", nginx.log)


def test_the_page_has_the_headers_of_the_model_server(asking: httpx.Client, service: Any) -> None:
    html = {"accept": "text/html"}
    ours = asking.get("/", headers=html)
    theirs = httpx.get(service.url, headers=html, trust_env=False)
    assert ours.text == theirs.text
    for name, value in page.HEADERS.items():
        if name != "vary":  # the model server chooses a page or a document by what is accepted
            assert ours.headers[name] == theirs.headers[name] == value
            assert ours.headers.get_list(name) == [value]
    for path in ("/app.js", "/style.css", "/favicon.svg"):
        ours, theirs = asking.get(path), httpx.get(f"{service.url}{path[1:]}", trust_env=False)
        assert ours.text == theirs.text
        kind = ours.headers["content-type"].partition(";")[0].replace("application/j", "text/j")
        assert kind == theirs.headers["content-type"].partition(";")[0]
        assert ours.headers["content-security-policy"] == page.POLICY


def test_answers_pass_through_with_their_headers(asking: httpx.Client, service: Any) -> None:
    direct = httpx.Client(base_url=service.url, trust_env=False)
    for method, path, body in (
        ("GET", "/v2/models/fuel/card", None),
        ("POST", "/v1/models/fuel:predict", {"instances": [CAR]}),
        ("POST", "/v1/models/fuel:predict", {"instances": [{"weight_kg": -1, "year": 1980}]}),
        ("GET", "/v2/models/nothing", None),
        ("POST", "/v1/models/fuel:predict", {"instances": [CAR] * 30_000}),
    ):
        ours = asking.request(method, path, json=body)
        theirs = direct.request(method, path, json=body)
        assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text), path
        passed = set(theirs.headers) - {"date", "server", "connection", "content-encoding"}
        for name in passed - {"content-length", "vary"}:
            assert ours.headers.get_list(name) == theirs.headers.get_list(name), (path, name)
    assert ours.status_code == 413
    direct.close()


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/v1/models/outliers:predict", "outliers-roadworthy.models.example"),
        ("/v1/models/outliers", "outliers-roadworthy.models.example"),
        ("/v2/models/outliers/infer", "outliers-roadworthy.models.example"),
        ("/v2/models/two-words/ready", "two-words-roadworthy.models.example"),
    ],
)
def test_each_model_is_asked_by_its_own_name(
    path: str, host: str, asking: httpx.Client, relay: Relay
) -> None:
    asking.get(path, headers={"host": "elsewhere.example", "authorization": "Bearer mine"})
    passed = relay.asked[-1]
    assert (passed.path, passed.headers["host"]) == (path, host)
    assert passed.headers["authorization"] == "Bearer mine"


def test_a_token_of_the_cluster_is_shown_to_the_models(
    new_nginx: Callable[..., Nginx], relay: Relay
) -> None:
    nginx = new_nginx(relay.address, 'proxy_set_header authorization "Bearer of-the-cluster";\n')
    httpx.get(
        f"{nginx.url}v2/models/fuel/ready", trust_env=False, headers={"authorization": "mine"}
    )
    assert relay.asked[-1].headers["authorization"] == "Bearer of-the-cluster"
    assert "of-the-cluster" not in nginx.log


def test_what_is_not_the_pages_is_not_there(asking: httpx.Client, relay: Relay) -> None:
    before = len(relay.asked)
    for method, path, status in (
        ("GET", "/metrics", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/nginx.conf", 404),
        ("GET", "/..data/app.js", 404),
        ("GET", "/%2e%2e/conf/nginx.conf", 400),
        ("GET", "/v10/models/fuel", 404),
        ("GET", "/v2/models/Odd.example/ready", 404),
        ("GET", "/v2/health/ready", 404),
        ("POST", "/v2/repository/models/fuel/load", 403),
        ("POST", "/v1/models", 403),
        ("POST", "/", 403),
    ):
        answer = asking.request(method, path)
        assert answer.status_code == status, path
        # what is no request at all is answered before any place of the conf is found
        assert status == 400 or answer.headers["x-content-type-options"] == "nosniff"
    assert len(relay.asked) == before
    assert asking.get("/healthz").status_code == 204


def test_what_is_too_large_for_nginx_is_told(asking: httpx.Client, relay: Relay) -> None:
    before = len(relay.asked)
    answer = asking.post("/v1/models/fuel:predict", content=b" " * (8 << 20) + b"{}")
    assert answer.status_code == 413
    assert "8 MiB" in answer.json()["error"]
    assert len(relay.asked) == before


def test_models_that_are_away_are_told(new_nginx: Callable[[str], Nginx]) -> None:
    # given a gateway that nobody listens at
    nginx = new_nginx(f"127.0.0.1:{free_port()}")
    answer = httpx.get(f"{nginx.url}v2/models/fuel/card", trust_env=False)
    assert answer.status_code == 502
    assert answer.json() == {"error": "The models cannot be reached: ask again later."}
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    # and the page is there, which then asks again by itself
    assert httpx.get(nginx.url, trust_env=False).status_code == 200


def _lay_out(home: Path, root: Path, secret: str) -> None:
    """Put the files where a container has them; a ConfigMap's lie behind a link."""
    (home / "tmp").mkdir()
    (home / "conf").mkdir()
    shutil.copy(root / "deploy/base/client/nginx.conf", home / "conf")
    shutil.copy(root / "deploy/base/client/gateway.conf", home / "conf")
    shutil.copytree(root / "inference-client", home / "page" / "..1")
    (home / "page" / "..data").symlink_to("..1")
    for file in (home / "page" / "..1").iterdir():
        (home / "page" / file.name).symlink_to(f"..data/{file.name}")
    if secret:
        (home / "secret").mkdir()
        (home / "secret" / "token.conf").write_text(secret)


def _replace(file: Path, what: str, by: str) -> None:
    text, count = re.subn(what, by, file.read_text())
    assert count == 1, f"{file.name} has {what!r} {count} times"
    file.write_text(text)
