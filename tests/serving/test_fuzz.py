"""Ten thousand requests, valid and broken: each is answered 2xx or 4xx, the server stays small."""

import contextlib
import gzip
import itertools
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

BATCH, BATCHES = 20, 500
GROWTH_MIB = 16
"""What a server may grow by while it answers 8000 requests: allocators keep some for later."""

# --- what is sent -----------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from([0, -1, 700, 2400, 2400.0000001, 1980, 1980.5, 2**63, 2**64, 1e308, 5e-324]),
)
words = st.one_of(
    st.text(max_size=20), st.sampled_from(["usa", "USA", "", "\x00", "é", "x" * 5000])
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
    optional={
        "cylinders": st.integers(3, 8),
        "displacement": st.floats(60, 480),
        "horsepower": st.integers(40, 240),
        "acceleration": st.floats(7, 26),
        "origin": st.sampled_from(["usa", "europe", "japan"]),
    },
)
names = st.sampled_from(
    ["weight_kg", "year", "cylinders", "displacement", "origin", "weight", "", "instances"]
)
rows = st.one_of(cars, st.dictionaries(names, values, max_size=4), values)
datatypes = st.sampled_from(
    ["FP64", "FP32", "INT64", "INT32", "BYTES", "BOOL", "FP16", "UINT8", "fp64", "", None, 7]
)
shapes = st.one_of(
    st.lists(st.integers(-2, 4), max_size=3),
    st.sampled_from([[2], [2, 1], [10**9], [10**30], [1.0], None, "2", [True], [[2]]]),
)
tensors = st.fixed_dictionaries(
    {"name": names, "datatype": datatypes, "shape": shapes},
    optional={
        "data": st.one_of(st.lists(values, max_size=4), values),
        "parameters": st.one_of(
            values, st.fixed_dictionaries({"binary_data_size": st.integers(-3, 40) | values})
        ),
        "extra": values,
    },
)
odd_v2 = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(st.one_of(tensors, values), max_size=3), values)},
    optional={"id": values, "outputs": values, "parameters": values, "x": values},
)
odd_v1 = st.one_of(
    st.fixed_dictionaries({"instances": st.one_of(st.lists(rows, max_size=4), values)}),
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), values, max_size=2),
    values,
)


def v1(batch: list[dict]) -> bytes:
    return json.dumps({"instances": batch}).encode()


def columns(batch: list[dict]) -> dict[str, list]:
    return {name: [car[name] for car in batch] for name in ("weight_kg", "year")}


def v2(batch: list[dict]) -> bytes:
    tensors = [
        {"name": name, "datatype": "INT64", "shape": [len(batch)], "data": data}
        for name, data in columns(batch).items()
    ]
    return json.dumps({"inputs": tensors, "id": "1"}).encode()


def spoilt(body: bytes) -> bytes:
    """Return a V2 body with a year that is out of range."""
    return body.replace(b"[19", b"[29", 1)


def packed(batch: list[dict]) -> tuple[bytes, int]:
    """Return a V2 body with its tensors as bytes, and the length of its JSON."""
    found = columns(batch)
    tensors = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": [len(batch)],
            "parameters": {"binary_data_size": 4 * len(batch)},
        }
        for name in found
    ]
    text = json.dumps({"inputs": tensors}).encode()
    tail = b"".join(np.array(data, "<f4").tobytes() for data in found.values())
    return text + tail, len(text)


TEXTS = [
    b"",
    b" ",
    b"null",
    b"[" * 3000,
    b"[" * 1100 + b"]" * 1100,
    b'{"instances":' * 500 + b"1" + b"}" * 500,
    b'{"instances": [' + b"[" * 900 + b"]" * 900 + b"]}",
    b'{"instances": [{"weight_kg": NaN, "year": 1980}]}',
    b'{"instances": [{"weight_kg": -Infinity, "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1e400, "year": 1980}]}',
    b'{"instances": [{"weight_kg": ' + b"9" * 5000 + b', "year": 1980}]}',
    b'{"instances": [{"weight_kg": 0.' + b"0" * 5000 + b'1, "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1200, "weight_kg": 1300, "year": 1980}]}',
    b'{"instances": [], "instances": [{"weight_kg": 1200, "year": 1980}]}',
    b'{"instances": [{"weight_kg": 1200, "year": 1980, "origin": "\\ud800"}]}',
    b'{"instances": [{"weight_kg": 1200, "year": 1980, "\\udfff": 1}]}',
    b'{"instances": [{"weight_kg": 1200, "year": 1980, "origin": "\xed\xa0\x80"}]}',
    b'\xef\xbb\xbf{"instances": [{"weight_kg": 1200, "year": 1980}]}',
    '{"instances": [{"weight_kg": 1200, "year": 1980}]}'.encode("utf-16"),
    b'{"instances": [[1200, 1980], [1200]]}',
    b'{"instances": [1200, 1980]}',
    b'{"inputs": [{"name": "a", "name": "year", "shape": [1], "datatype": "FP64", "data": [1]}]}',
    b'{"id": "a", "id": "b", "parameters": {"n": 1' + b"0" * 300 + b'}, "inputs": []}',
]

PATHS = [
    "/v1/models/fuel:predict",
    "/v2/models/fuel/infer",
    "/v2/models/fuel/versions/1/infer",
    "/v2/models/fuel/versions/9/infer",
    "/v1/models/oil:predict",
    "/v1/models/fuel:explain",
    "/v1/models/fuel:",
    "/v1/models/fuel",
    "/v2/models/fuel",
    "/v2/models/fuel/card",
    "/v2/models/fuel/ready",
    "/v2/repository/index",
    "/v2/repository/models/fuel/load",
    "/v2/repository/models/fuel/unload",
    "/v2/repository/models/../unload",
    "/v2/health/ready",
    "/metrics",
    "/openapi.json",
    "/",
    "/page.js",
    "/%00",
    "/%ff%fe",
    "/..%2f..%2fetc/passwd",
    "/v2/models/%ed%a0%80/infer",
    "//v2/models/fuel",
    "/docs",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
HEADERS = [
    "content-type: application/json; charset=utf-8",
    "content-type: application/json; charset=latin-1",
    "content-type: application/octet-stream",
    "content-type: multipart/form-data; boundary=x",
    "content-type: text/plain",
    "content-type: ",
    "content-encoding: gzip",
    "content-encoding: br",
    "content-encoding: identity",
    "accept: text/html",
    "accept: image/png;q=0",
    "accept-encoding: gzip",
    "range: bytes=0-3",
    "range: bytes=9-3,x",
    "range: bytes=-99999999999999999999",
    "if-none-match: *",
    "if-modified-since: yesterday",
    "expect: 100-continue",
    "expect: miracles",
    "connection: upgrade\r\nupgrade: h2c",
    "connection: close",
    "origin: https://evil.example.org",
    "access-control-request-method: POST",
    "authorization: Bearer x",
    "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: x\r\nce-type: y",
    "x-roadworthy-version: 1",
    "x-roadworthy-version: 7",
    "x-roadworthy-version: \xff",
    "x-roadworthy-version: " + "1" * 500,
    "inference-header-content-length: 5",
    "inference-header-content-length: -1",
    "inference-header-content-length: 999999999999",
    "cookie: " + "x=y;" * 200,
    "x-forwarded-for: " + "1.2.3.4," * 50,
    "host: evil.example.org",
]


@dataclass(frozen=True)
class Sent:
    """A request as bytes; where its framing is sound, the connection is kept."""

    raw: bytes
    sound: bool = True
    good: bool = False
    head: bool = False


@st.composite
def sound(draw) -> Sent:
    usual = draw(st.integers(0, 3)) > 0  # most of what is sent gets as far as the body
    method = "POST" if usual else draw(st.sampled_from(METHODS))
    path = draw(st.sampled_from(PATHS[:3] if usual else PATHS))
    body = draw(
        st.one_of(
            st.sampled_from(TEXTS),
            odd_v1.map(json.dumps).map(str.encode),
            odd_v2.map(json.dumps).map(str.encode),
            st.lists(cars, min_size=1, max_size=3).map(v1),
            st.lists(cars, min_size=1, max_size=3).map(v2),
            st.lists(cars | rows, min_size=1, max_size=3).map(v1),
            st.lists(cars, min_size=1, max_size=3).map(v2).map(spoilt),
            st.binary(max_size=60),
            st.lists(cars, min_size=1, max_size=2).map(v1).map(gzip.compress),
        )
    )
    few = 1 if usual else 3
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=few, unique=True))
    if draw(st.booleans()):
        return Sent(framed(method, path, headers, body), head=method == "HEAD")
    return Sent(
        chunked(method, path, headers, body, draw(st.integers(1, 500))), head=method == "HEAD"
    )


@st.composite
def good(draw) -> Sent:
    batch = draw(st.lists(cars, min_size=1, max_size=3))
    kind = draw(st.sampled_from(["v1", "v2", "raw", "gzip", "chunked"]))
    if kind == "raw":
        body, length = packed(batch)
        header = [f"inference-header-content-length: {length}"]
        return Sent(framed("POST", "/v2/models/fuel/infer", header, body), good=True)
    if kind == "v2":
        return Sent(framed("POST", "/v2/models/fuel/infer", [], v2(batch)), good=True)
    if kind == "chunked":
        return Sent(chunked("POST", "/v1/models/fuel:predict", [], v1(batch), 7), good=True)
    header, body = [], v1(batch)
    if kind == "gzip":
        header, body = ["content-encoding: gzip"], gzip.compress(body)
    return Sent(framed("POST", "/v1/models/fuel:predict", header, body), good=True)


LINES = [
    b"",
    b"\r\n\r\n",
    b"GET",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"get / http/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\n\r\n",
    b"GET http:///x HTTP/1.1\r\nhost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\nhost: x\n\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
    b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabc",
    b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nabc",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nx\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(100)),
]


@st.composite
def broken(draw) -> Sent:
    raw = draw(st.sampled_from(LINES) | st.binary(max_size=80) | (good() | sound()).map(_raw))
    if raw and draw(st.booleans()):
        at = draw(st.integers(0, len(raw) - 1))
        raw = draw(
            st.sampled_from(
                [raw[:at], raw[:at] + b"\x00" + raw[at:], raw[:at] + raw[at + 1 :], raw + raw[:at]]
            )
        )
    return Sent(raw, sound=False)


def _raw(sent: Sent) -> bytes:
    return sent.raw


def framed(method: str, path: str, headers: list[str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(method: str, path: str, headers: list[str], body: bytes, size: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", "transfer-encoding: chunked", *headers]
    parts = [body[n : n + size] for n in range(0, len(body), size)]
    text = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + text + b"0\r\n\r\n"


# --- what comes back --------------------------------------------------------------------------


class Wire:
    """A connection that is made anew when the server ends it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, sent: Sent) -> list[int]:
        """Return the statuses of the answers; of what is broken there may be none, or several."""
        return [self._keep(sent)] if sent.sound else self._once(sent.raw)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _keep(self, sent: Sent) -> int:
        if self._socket is None:
            self._socket = self._connect()
            self._file = self._socket.makefile("rb")
        self._socket.sendall(sent.raw)
        status, ends = read(self._file, head=sent.head)
        if ends:
            self.close()
        return status

    def _once(self, raw: bytes) -> list[int]:
        with self._connect() as connection, connection.makefile("rb") as file:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            text = file.read()
        found = [int(one) for one in re.findall(rb"^HTTP/1\.1 (\d+) ", text, re.MULTILINE)]
        return [status for status in found if status != 100]  # that one announces another


def read(file, *, head: bool) -> tuple[int, bool]:
    """Return the status of an answer that is checked, and whether the connection ends."""
    status, headers = _head(file)
    while status == 100:
        status, headers = _head(file)
    if head or status in (204, 304):
        body = b""
    elif headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(file))
    else:
        body = file.read(int(headers["content-length"]))
    if status >= 400 and not head and headers["content-type"] == "application/json":
        sentence = json.loads(body)["error"]
        assert sentence.endswith("."), sentence
        assert "allocate" not in sentence
    return status, "close" in headers.get("connection", "")


def _head(file) -> tuple[int, dict[str, str]]:
    line = file.readline()
    assert line.startswith(b"HTTP/1.1 "), f"no answer but {line!r}"
    headers = {}
    while (text := file.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = text.partition(": ")
        headers[name] = value
    return int(line.split()[1]), headers


def _chunks(file):
    while (size := int(file.readline(), 16)) > 0:
        yield file.read(size)
        file.readline()
    file.readline()


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
def test_ten_thousand_requests_are_answered_with_2xx_or_4xx_and_leave_nothing_behind(fuzzed):
    wire = Wire(fuzzed.address)
    statuses: dict[int, int] = {}
    resident: list[float] = []
    count = itertools.count()
    kinds = st.one_of(sound(), sound(), sound(), good(), broken())

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
            assert not sent.good or found == [200], (found, sent)
            for status in found:
                statuses[status] = statuses.get(status, 0) + 1
            if next(count) % 1000 == 0:
                resident.append(resident_mib(fuzzed.process.pid))

    ask()
    wire.close()

    assert next(count) >= BATCH * BATCHES
    assert statuses[200] > 1000
    assert statuses[422] > 100
    assert {400, 404, 405, 415, 431} <= set(statuses)
    assert max(resident[3:]) < resident[2] + GROWTH_MIB, resident


def test_large_bodies_are_refused_and_leave_nothing_behind(fuzzed):
    def send(raw: bytes, size: int) -> int:
        with socket.create_connection(fuzzed.address, timeout=30) as connection:
            connection.sendall(raw)
            block = b" " * 65536
            with contextlib.suppress(ConnectionError):
                for _ in range(size // len(block)):
                    connection.sendall(block)
            with connection.makefile("rb") as file:
                return read(file, head=False)[0]

    size = 50_000_000
    post = b"POST /v1/models/fuel:predict HTTP/1.1\r\nhost: x\r\n"
    before = resident_mib(fuzzed.process.pid)
    for _ in range(4):
        assert send(post + b"content-length: %d\r\n\r\n" % size, size) == 413
        assert send(post + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % size, size) == 413
        bomb = gzip.compress(b" " * size)
        head = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
        assert send(post + head + bomb, 0) == 413

    assert resident_mib(fuzzed.process.pid) < before + GROWTH_MIB


def test_slow_bodies_are_told_so_while_others_are_answered(fuzzed):
    post = b"POST /v1/models/fuel:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n"
    statuses: list[int] = []

    def drip() -> None:
        with socket.create_connection(fuzzed.address, timeout=30) as connection:
            connection.sendall(post)
            done = threading.Event()

            def send() -> None:
                with contextlib.suppress(OSError):
                    while not done.wait(0.05):
                        connection.sendall(b" ")

            sending = threading.Thread(target=send)
            sending.start()
            with connection.makefile("rb") as file:
                statuses.append(read(file, head=False)[0])
            done.set()
            sending.join()

    threads = [threading.Thread(target=drip) for _ in range(20)]
    for thread in threads:
        thread.start()
    wire = Wire(fuzzed.address)
    car = {"weight_kg": 1200, "year": 1980}
    good_one = Sent(framed("POST", "/v1/models/fuel:predict", [], v1([car])))
    answered = [wire.ask(good_one) for _ in range(50)]
    for thread in threads:
        thread.join()
    wire.close()

    assert answered == [[200]] * 50
    assert statuses == [408] * 20


# --- gRPC -------------------------------------------------------------------------------------

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
            name=names,
            datatype=datatypes.filter(lambda one: isinstance(one, str)),
            shape=st.lists(st.integers(-2, 3) | st.just(2**40), max_size=3),
            contents=contents,
        ),
        max_size=3,
    ),
    raw_input_contents=st.lists(
        st.binary(max_size=16) | st.just(struct.pack("<I", 2**32 - 1)), max_size=3
    ),
)
TOLD = {"INVALID_ARGUMENT", "NOT_FOUND"}


@pytest.mark.slow
def test_messages_of_grpc_are_answered_or_told_what_is_wrong(fuzzed):
    told: set[str] = set()
    with grpc.insecure_channel(fuzzed.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        @settings(few, max_examples=1000)
        @given(messages.map(pb.ModelInferRequest.SerializeToString) | st.binary(max_size=40))
        def ask(message: bytes) -> None:
            error = None
            try:
                call(message, timeout=20, wait_for_ready=True)
            except grpc.RpcError as caught:
                error = caught
            if error is not None:
                told.add(error.code().name)
                assert error.code().name in TOLD, error.details()
                assert error.details()

        ask()
    assert told == TOLD
