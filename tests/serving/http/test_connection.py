"""What comes over the wire, to a real uvicorn with a small application, and what goes back."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import uvicorn

from roadworthy.serving.http.connection import REFUSAL, Connection, Load, expire
from roadworthy.serving.http.guard import Guard
from roadworthy.serving.settings import ServerSettings

LIMITS = ServerSettings(
    routing=Path(),
    max_header_bytes=2000,
    max_headers=20,
    max_body_bytes=200_000,
    max_in_flight=20,
    request_seconds=60,
)
FEW = replace(LIMITS, max_in_flight=2)
QUICK = replace(LIMITS, request_seconds=0.6)


@dataclass
class App:
    """Answers with what it got, once it may."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[str] = field(default_factory=list)
    headers: set[bytes] = field(default_factory=set)

    async def __call__(self, scope, receive, send) -> None:
        assert REFUSAL not in scope
        body = bytearray()
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append(scope["path"])
        self.headers.update(name for name, _ in scope["headers"])
        if scope["path"] == "/held":
            await self.may.wait()
        answer = json.dumps({"path": scope["path"], "size": len(body)}).encode()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: bytes) -> None:
        self.writer.write(text)

    async def answer(self) -> Answer:
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return Answer(int(status.split()[1]), headers, body)

    async def ended(self) -> bool:
        """Whether the server closes the connection."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read() == b""
            return True


@dataclass
class Running:
    app: App
    server: uvicorn.Server
    port: int
    task: asyncio.Task

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, text: bytes) -> Answer:
        client = await self.connect()
        client.send(text)
        return await client.answer()


@contextlib.asynccontextmanager
async def running(
    limits: ServerSettings = LIMITS, *, grace: int = 5, idle: int = 60
) -> AsyncIterator[Running]:
    app = App()
    config = uvicorn.Config(
        Guard(app),
        http=partial(Connection, limits=limits, load=Load()),
        ws="none",
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=grace,
        timeout_keep_alive=idle,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        expire(server.server_state.connections, asyncio.get_running_loop())
        try:
            yield Running(app, server, port, task)
        finally:
            app.may.set()
            server.should_exit = True
            await task


def over_the_wire(
    test: Callable[[Running], Awaitable[None]], limits: ServerSettings = LIMITS, **kwargs: int
) -> None:
    async def run() -> None:
        async with running(limits, **kwargs) as server:
            await test(server)

    asyncio.run(run())


def post(
    body: bytes = b"", *headers: bytes, path: bytes = b"/", length: int | None = None
) -> bytes:
    size = b"content-length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"host: x", size, *headers, b"", body])


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50, 400),
        (b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad header: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", 400),
        (post(b"", b"content-length: 5"), 400),
        (post(b"", b"transfer-encoding: chunked"), 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 60 + b"\r\n\r\n", 400),
        (CHUNKED + b"5\r\nabcde1\r\n", 400),
        (b"GET /" + b"x" * 3000, 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 3000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_malformed_request_is_refused_in_json_and_the_connection_ends(text, status):
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(text)
        answer = await client.answer()

        assert answer.status == status
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["error"].endswith(".")
        assert await client.ended()
        assert server.app.seen == []

    over_the_wire(test)


def test_a_request_is_answered_however_it_is_cut_into_pieces():
    async def test(server: Running) -> None:
        client = await server.connect()
        for text in (post(b"abc"), CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"):
            for n in range(len(text)):
                client.send(text[n : n + 1])
                await asyncio.sleep(0)
            assert json.loads((await client.answer()).body) == {"path": "/", "size": 3}

    over_the_wire(test)


def test_trailers_are_no_headers_and_have_a_limit():
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(CHUNKED + b"1\r\na\r\n0\r\nauthorization: Bearer secret\r\n\r\n")
        assert (await client.answer()).status == 200
        assert b"authorization" not in server.app.headers

        for line in (b"x: 1\r\n", b"x"):
            client = await server.connect()
            client.send(CHUNKED + b"1\r\na\r\n0\r\n" + line * (2_000_000 // len(line)))
            assert (await client.answer()).status == 431
            assert await client.ended()

    over_the_wire(test)


def test_pipelined_requests_are_answered_in_order():
    async def test(server: Running) -> None:
        client = await server.connect()
        paths = [b"/%d" % n for n in range(5)]
        client.send(b"".join(post(b"x" * 9, path=path) for path in paths))

        found = [json.loads((await client.answer()).body)["path"].encode() for _ in paths]

        assert found == paths

    over_the_wire(test)


def test_a_request_before_a_broken_one_is_answered():
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(post(b"abc") + b"GARBAGE\r\n\r\n")

        assert (await client.answer()).status == 200
        assert await client.ended()

    over_the_wire(test)


@pytest.mark.parametrize("body", [b"", b"abc", b"x" * 100_000])
def test_an_upgrade_is_ignored(body):
    async def test(server: Running) -> None:
        upgrade = (b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-key: eA==")
        client = await server.connect()
        client.send(post(body, *upgrade))

        assert json.loads((await client.answer()).body)["size"] == len(body)

    over_the_wire(test)


def test_a_body_up_to_the_limit_is_taken_and_one_byte_more_is_not():
    async def test(server: Running) -> None:
        limit = LIMITS.max_body_bytes
        assert (await server.ask(post(b"x" * limit))).status == 200
        for text in (
            post(b"x" * (limit + 1)),
            post(b"x", length=limit + 1),
            post(b"x", length=10**17),
            CHUNKED + b"%x\r\n" % (limit + 1) + b"x" * (limit + 1),
            CHUNKED + b"%x\r\n" % 10**9 + b"x" * (limit + 1),
        ):
            answer = await server.ask(text)
            assert answer.status == 413
            assert f"at most {limit} bytes" in json.loads(answer.body)["error"]

    over_the_wire(test)


def test_expect_100_continue_is_answered():
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(post(b"", b"expect: 100-continue", length=3))
        assert (await client.answer()).status == 100
        client.send(b"abc")
        assert json.loads((await client.answer()).body)["size"] == 3
        client.send(post(b"", b"expect: 100-continue", length=10**9))
        assert (await client.answer()).status == 413

    over_the_wire(test)


@pytest.mark.parametrize(
    "text", [b"GET / HT", b"POST / HTTP/1.1\r\nx: ", post(b"ab", length=9), CHUNKED + b"5\r\nab"]
)
def test_a_request_that_exceeds_its_time_out_is_refused(text):
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(text)
        answer = await client.answer()

        assert answer.status == 408
        assert "within 0.6 s" in json.loads(answer.body)["error"]
        assert await client.ended()

    over_the_wire(test, QUICK)


def test_an_answer_that_takes_too_long_ends_the_connection():
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(post(path=b"/held"))

        assert await client.ended()

    over_the_wire(test, QUICK)


@pytest.mark.parametrize("before", [b"", post(b"abc")])
def test_an_idle_connection_is_closed(before):
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(before)
        if before:
            assert (await client.answer()).status == 200

        assert await client.ended()

    over_the_wire(test, idle=1)


def test_a_client_that_sends_no_more_still_gets_its_answer():
    async def test(server: Running) -> None:
        client = await server.connect()
        client.send(post(b"abc"))
        client.writer.write_eof()
        assert (await client.answer()).status == 200
        assert await client.ended()

        client = await server.connect()
        client.send(post(b"abc", length=9))
        client.writer.write_eof()
        assert (await client.answer()).status == 400

    over_the_wire(test)


def test_more_requests_than_the_limit_get_503_at_once():
    async def test(server: Running) -> None:
        # given as many requests as there may be, and some that are not whole
        held = [await server.connect() for _ in range(FEW.max_in_flight)]
        for client in held:
            client.send(post(path=b"/held"))
        slow = [await server.connect() for _ in range(5)]
        for client in slow:
            client.send(post(b"x", length=2))
        while len(server.app.seen) < len(held):
            await asyncio.sleep(0.01)

        # when there is another, then it is refused, and probes are not
        refused = await server.ask(post())
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert "retry" in json.loads(refused.body)["error"]
        assert (await server.ask(b"GET /v2/health/live HTTP/1.1\r\n\r\n")).status == 200

        # and when they are answered, then there is room again
        server.app.may.set()
        assert {(await client.answer()).status for client in held} == {200}
        for client in slow:
            client.send(b"x")
            assert (await client.answer()).status == 200

    over_the_wire(test, FEW)


def test_requests_on_their_way_are_answered_when_the_server_stops():
    async def test(server: Running) -> None:
        # given one that is being answered, one without its body and one without its headers
        texts = (post(path=b"/held"), post(b"ab", length=4), b"GET / HTTP/1.1\r\n")
        clients = [await server.connect() for _ in texts]
        for client, text in zip(clients, texts, strict=True):
            client.send(text)
        while not server.app.seen:
            await asyncio.sleep(0.01)
        idle = await server.connect()
        await asyncio.sleep(0.1)

        # when the server stops, and the rest of the requests arrives
        server.server.should_exit = True
        assert await idle.ended()
        clients[1].send(b"cd")
        clients[2].send(b"\r\n")
        server.app.may.set()

        # then each is answered, for the last time on its connection
        answers = [await client.answer() for client in clients]
        assert [answer.status for answer in answers] == [200] * 3
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        async with asyncio.timeout(20):
            await server.task

    over_the_wire(test, grace=20)


def test_an_incomplete_request_does_not_keep_the_server_from_stopping():
    async def test(server: Running) -> None:
        clients = [await server.connect() for _ in range(2)]
        clients[0].send(post(b"ab", length=4))
        clients[1].send(b"GET / HT")
        await asyncio.sleep(0.1)
        server.server.should_exit = True

        answers = [await client.answer() for client in clients]

        assert [answer.status for answer in answers] == [408, 408]
        assert "had to stop" in json.loads(answers[0].body)["error"]
        async with asyncio.timeout(20):
            await server.task

    over_the_wire(test, grace=1)
