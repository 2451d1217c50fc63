"""Thousands of requests, valid and broken: each gets 2xx or 4xx, and the server stays small."""

import contextlib
import gzip
import itertools
import json
import re
import socket
import struct
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

BATCH, BATCHES = 20, 150
GROWTH_MIB = 16
"""The growth of memory that allocators may cause."""

numbers = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from([0, -1, 700, 2400, 2400.0000001, 1980, 1980.5, 2**63, 2**64, 1e308, 5e-324]),
)
words = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["usa", "", "\x00", "x" * 5000, "FP64", "INT32", "BYTES", "BOOL", "instances"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
cars = st.fixed_dictionaries(
    {"weight_kg": st.integers(700, 2400), "year": st.integers(1970, 1982)},
    optional={"horsepower": st.integers(40, 240), "origin": st.sampled_from(["usa", "japan"])},
)
batches = st.lists(cars, min_size=1, max_size=3)


def v1(batch: list[dict]) -> bytes:
    return json.dumps({"instances": batch}).encode()


def v2(batch: list[dict]) -> bytes:
    tensors = [
        {"name": name, "datatype": "INT64", "shape": [len(batch)], "data": [c[name] for c in batch]}
        for name in ("weight_kg", "year")
    ]
    return json.dumps({"inputs": tensors, "id": "1"}).encode()


@st.composite
def spoiled(draw) -> bytes:
    """A good body, of which one part is anything."""
    document = json.loads(draw(batches.map(v1) | batches.map(v2)))
    part = document
    while True:
        key = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or draw(st.booleans()):
            part[key] = draw(values)
            return json.dumps(document).encode()
        part = part[key]


TEXTS = [
    b"",
    b"null",
    b"[" * 3000,
    b'{"instances":' * 500 + b"1" + b"}" * 500,
    b'{"instances": [{"weight_kg": NaN, "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1e400, "year": 1980}]}',
    b'{"instances": [{"weight_kg": ' + b"9" * 5000 + b', "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1200, "weight_kg": 1300, "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1200, "year": 1980, "origin": "\\ud800"}]}',
    b'{"instances": [{"weight_kg": 1200, "year": 1980, "origin": "\xed\xa0\x80"}]}',
    '{"instances": [{"weight_kg": 1200, "year": 1980}]}'.encode("utf-16"),
    b'{"id": "a", "id": "b", "parameters": {"n": 1' + b"0" * 300 + b'}, "inputs": []}',
]

PATHS = [
    "/v1/models/fuel:predict",
    "/v2/models/fuel/infer",
    "/v2/models/fuel/versions/1/infer",
    "/v2/models/fuel/versions/9/infer",
    "/v1/models/fuel:explain",
    "/v1/models/fuel",
    "/v2/models/fuel/card",
    "/v2/repository/index",
    "/v2/repository/models/fuel/unload",
    "/v2/repository/models/../unload",
    "/metrics",
    "/openapi.json",
    "/",
    "/%ff%fe",
    "/..%2f..%2fetc/passwd",
    "//v2/models/fuel",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
HEADERS = [
    "content-type: application/json; charset=latin-1",
    "content-type: multipart/form-data; boundary=x",
    "content-encoding: gzip",
    "content-encoding: br",
    "accept: text/html",
    "range: bytes=9-3,x",
    "if-none-match: *",
    "expect: 100-continue",
    "expect: miracles",
    "connection: upgrade\r\nupgrade: h2c",
    "connection: close",
    "origin: https://evil.example.org",
    "authorization: Bearer x",
    "x-roadworthy-version: 7",
    "x-roadworthy-version: \xff",
    "inference-header-content-length: 5",
    "inference-header-content-length: 999999999999",
    "cookie: " + "x=y;" * 200,
]


@dataclass(frozen=True)
class Sent:
    """A request as bytes; where its framing is sound, the connection is kept."""

    raw: bytes
    sound: bool = True
    head: bool = False


@st.composite
def sound(draw) -> Sent:
    usual = draw(st.integers(0, 3)) > 0  # most requests get as far as the body
    method = "POST" if usual else draw(st.sampled_from(METHODS))
    path = draw(st.sampled_from(PATHS[:3] if usual else PATHS))
    body = draw(
        st.one_of(
            *(st.sampled_from(TEXTS), st.binary(max_size=60), spoiled(), spoiled()),
            batches.map(v1) | batches.map(v2),
        )
    )
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=1 if usual else 3, unique=True))
    size = draw(st.none() | st.integers(1, 500))
    return Sent(framed(method, path, headers, body, size), head=method == "HEAD")


LINES = [
    b"",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nabc",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(100)),
]


@st.composite
def broken(draw) -> Sent:
    raw = draw(st.sampled_from(LINES) | st.binary(max_size=80) | sound().map(lambda sent: sent.raw))
    if raw and draw(st.booleans()):
        at = draw(st.integers(0, len(raw) - 1))
        raw = draw(
            st.sampled_from(
                [raw[:at], raw[:at] + b"\x00" + raw[at:], raw[:at] + raw[at + 1 :], raw + raw[:at]]
            )
        )
    return Sent(raw, sound=False)


def framed(method: str, path: str, headers: list[str], body: bytes, chunk: int | None) -> bytes:
    """Return a request, with its length or in chunks of a size."""
    if chunk is None:
        framing = f"content-length: {len(body)}"
    else:
        framing = "transfer-encoding: chunked"
        parts = [body[n : n + chunk] for n in range(0, len(body), chunk)] + [b""]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    lines = [f"{method} {path} HTTP/1.1", "host: x", framing, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class Wire:
    """A connection that is made anew when the server closes it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, sent: Sent) -> list[int]:
        """Return the statuses of the responses; a broken request may get none, or several."""
        if not sent.sound:
            return self._once(sent.raw)
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(sent.raw)
        response = read(self._socket, "HEAD" if sent.head else "POST")
        if response.getheader("connection") == "close":
            self.close()
        return [response.status]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _once(self, raw: bytes) -> list[int]:
        with socket.create_connection(self._address, timeout=30) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            text = connection.makefile("rb").read()
        found = [int(one) for one in re.findall(rb"^HTTP/1\.1 (\d+) ", text, re.MULTILINE)]
        return [status for status in found if status != 100]  # that one announces another


def read(connection: socket.socket, method: str = "POST") -> HTTPResponse:
    """Return a response whose error, if it is one, is a sentence."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    is_json = response.getheader("content-type") == "application/json"
    if response.status >= 400 and method != "HEAD" and is_json:
        sentence = json.loads(body)["error"]
        assert sentence.endswith("."), sentence
        assert "allocate" not in sentence
    return response


def resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


@pytest.fixture(scope="module")
def fuzzed(bundles, start, client_directory, free_port):
    port = free_port()
    server = start(
        *("--bundle", bundles[0].path, "--version", 1, "--client", client_directory),
        *("--max-body-bytes", 100_000, "--request-seconds", 2, "--grpc-port", port),
    )
    server.address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    server.grpc = f"127.0.0.1:{port}"
    yield server
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text()
    assert "ERROR" not in server.log.read_text()
    assert server.stop() == 0


few = settings(max_examples=BATCHES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_thousands_of_requests_get_2xx_or_4xx_and_leave_nothing_behind(fuzzed):
    wire = Wire(fuzzed.address)
    statuses: dict[int, int] = {}
    resident: list[float] = []
    count = itertools.count()
    kinds = st.one_of(sound(), sound(), broken())

    @few
    @given(st.lists(kinds, min_size=BATCH, max_size=BATCH))
    def ask(batch: list[Sent]) -> None:
        for sent in batch:
            try:
                found = wire.ask(sent)
            except (OSError, AssertionError, ValueError):
                wire.close()
                raise
            assert all(200 <= status < 500 for status in found), (found, sent)
            for status in found:
                statuses[status] = statuses.get(status, 0) + 1
            if next(count) % 300 == 0:
                resident.append(resident_mib(fuzzed.process.pid))

    ask()
    wire.close()

    assert next(count) >= BATCH * BATCHES
    assert statuses[200] > 100
    assert statuses[422] > 30
    assert {400, 404, 405, 415, 431} <= set(statuses)
    assert max(resident[3:]) < resident[2] + GROWTH_MIB, resident


def test_large_bodies_are_refused_and_leave_nothing_behind(fuzzed):
    def send(head: bytes, body: bytes) -> int:
        with socket.create_connection(fuzzed.address, timeout=30) as connection:
            post = b"POST /v1/models/fuel:predict HTTP/1.1\r\nhost: x\r\n"
            with contextlib.suppress(ConnectionError):
                connection.sendall(post + head + b"\r\n\r\n" + body)
            return read(connection).status

    size = 50_000_000
    plain, bomb = b" " * size, gzip.compress(b" " * size)
    before = resident_mib(fuzzed.process.pid)
    for _ in range(2):
        assert send(b"content-length: %d" % size, plain) == 413
        assert send(b"transfer-encoding: chunked\r\n\r\n%x" % size, plain) == 413
        head = b"content-encoding: gzip\r\ncontent-length: %d" % len(bomb)
        assert send(head, bomb) == 413

    assert resident_mib(fuzzed.process.pid) < before + GROWTH_MIB


contents = st.builds(
    pb.InferTensorContents,
    fp64_contents=st.lists(st.floats(), max_size=3),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
    bytes_contents=st.lists(st.binary(max_size=6), max_size=2),
)
messages = st.builds(
    pb.ModelInferRequest,
    model_name=st.sampled_from(["fuel", "fuel", "fuel", "oil", "", "\x00"]),
    model_version=st.sampled_from(["", "", "1", "7", "x"]),
    id=st.text(max_size=5),
    inputs=st.lists(
        st.builds(
            pb.ModelInferRequest.InferInputTensor,
            name=st.sampled_from(["weight_kg", "year", "origin", "weight", ""]),
            datatype=words,
            shape=st.lists(st.integers(-2, 3) | st.just(2**40), max_size=3),
            contents=contents,
        ),
        max_size=3,
    ),
    raw_input_contents=st.lists(
        st.binary(max_size=16) | st.just(struct.pack("<I", 2**32 - 1)), max_size=3
    ),
)
CODES = {"INVALID_ARGUMENT", "NOT_FOUND"}


@pytest.mark.slow
def test_grpc_messages_are_answered_or_refused(fuzzed):
    text: set[str] = set()
    with grpc.insecure_channel(fuzzed.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        @settings(few, max_examples=300)
        @given(messages.map(pb.ModelInferRequest.SerializeToString) | st.binary(max_size=40))
        def ask(message: bytes) -> None:
            error = None
            try:
                call(message, timeout=20, wait_for_ready=True)
            except grpc.RpcError as caught:
                error = caught
            if error is not None:
                text.add(error.code().name)
                assert error.code().name in CODES, error.details()
                assert error.details()

        ask()
    assert text == CODES
