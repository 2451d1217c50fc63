"""Keeps a model server running: restarts it without losing a request, and replaces dead processes.

This process has the listening sockets and answers nothing. Each socket belongs to a worker: one
server process after the other, which accept its connections. This process imports little, so that
it needs little memory, and what a server process leaks ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from pathlib import Path

from roadworthy.serving.process.workers import forget, shared
from roadworthy.serving.settings import (
    LOG_FORMAT,
    LOG_TIMES,
    TOKEN_VARIABLE,
    ServerError,
    ServerSettings,
    check,
    listen,
)

_START_SECONDS = 120.0
"""The time-out until a new process is ready."""
_LEAVE_SECONDS = 120.0
"""The time-out of a process that leaves its place, which itself waits for the idle time-out."""
_STEADY_SECONDS = 10.0
"""A process that died after this time is replaced at once."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_MARGIN_SECONDS = 5.0

log = logging.getLogger(__name__)


def supervise(settings: ServerSettings, prepare: Callable[[], object] = lambda: None) -> int:
    """Serve until SIGINT or SIGTERM. On SIGHUP, restart without losing a request.

    A restart starts a new process, and stops the old one when the new one is ready. If the new one
    does not start, the old one stays. Workers are restarted one after the other. A process that
    dies is replaced at once, and after growing pauses if it keeps dying.

    A terminal sends SIGHUP too, when it is closed: this process then ends.

    Parameters
    ----------
    settings
        The settings of the server.
    prepare
        Called before a process is replaced, to fetch what it is to serve. It raises nothing.

    Returns
    -------
    int
        0 after a signal; the exit code of the first process if it could not start.

    Raises
    ------
    ServerError
        The port is in use, a directory does not exist, or the first process was killed.
    """
    logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIMES)
    logging.getLogger("roadworthy").setLevel(settings.log_level.upper())
    check(settings)
    with ExitStack() as stack:
        listeners = [stack.enter_context(one) for one in listen(settings)]
        try:
            directory = stack.enter_context(shared(settings.metrics_dir))
        except OSError as error:
            place = settings.metrics_dir or tempfile.gettempdir()
            raise ServerError(
                f"The server cannot write metrics to {place} ({error}). "
                f"Let it write there, or name another directory with --metrics-dir."
            ) from error
        try:
            return asyncio.run(_Supervisor(settings, listeners, directory, prepare).run())
        except _NotReadyError as error:
            if error.code > 0:  # its message is in the log
                return error.code
            raise ServerError(f"The model server did not start ({error}). See the log.") from None


class _NotReadyError(Exception):
    """A new process ended with this exit code before it was ready."""

    def __init__(self, code: int) -> None:
        super().__init__(_describe(code))
        self.code = code


class _Supervisor:
    """The workers, and all processes that were started for them."""

    def __init__(
        self,
        settings: ServerSettings,
        listeners: Sequence[socket.socket],
        directory: Path,
        prepare: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._directory = directory
        self._prepare = prepare
        self._workers = [_Worker(n + 1, self.start) for n in range(settings.workers)]
        self._reaping: dict[Process, asyncio.Task[None]] = {}
        self._restarting = asyncio.Lock()
        self._greeting = ""

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        serving = asyncio.create_task(self._serve())
        # nohup ignores the signal: the terminal does not matter then
        has_terminal = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()
        restarts: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            if has_terminal and not _has_terminal():
                stopped.set()
            else:
                restarts.add(asyncio.create_task(self._restart()))

        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        stopping = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            return 0
        finally:
            for task in (serving, stopping, *restarts):
                task.cancel()
            await asyncio.gather(serving, stopping, *restarts, return_exceptions=True)
            await self._stop()

    async def start(self, number: int) -> Process:
        """Return a new process that is ready to serve as a worker.

        Its standard input is a pipe that ends with this process, and so does the new one.

        Raises
        ------
        _NotReadyError
            It ended, or was not ready in time.
        """
        if self._greeting:  # it takes the place of another one
            self._prepare()
        news, ready = os.pipe()
        sockets = [listener.fileno() for listener in self._listeners]
        own = sockets.pop(number - 1)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "roadworthy.serving"),
                *_arguments(replace(self._settings, metrics_dir=self._directory)),
                *("--supervised", *map(str, (number, ready, own, *sockets))),
                stdin=subprocess.PIPE,
                pass_fds=(ready, own, *sockets),
                env=_environment(self._settings, self._directory),
                process_group=0,  # Ctrl-C reaches this process only
            )
        finally:
            os.close(ready)
        self._reaping[process] = asyncio.create_task(self._reap(process))
        with os.fdopen(news, "rb", buffering=0) as pipe:
            greeting = await _read(pipe.fileno())
        if not greeting:
            raise _NotReadyError(await _end(process, _MARGIN_SECONDS))
        place = f" as worker {number}" if self._settings.workers > 1 else ""
        log.info("Process %d serves%s.", process.pid, place)
        if not self._greeting:
            self._greeting = greeting.decode()
        return process

    async def _serve(self) -> None:
        await asyncio.gather(*(worker.replace() for worker in self._workers))
        sys.stdout.write(self._greeting)
        sys.stdout.flush()
        await asyncio.gather(*(worker.keep() for worker in self._workers))

    async def _restart(self) -> None:
        async with self._restarting:
            for worker in self._workers:
                try:
                    await worker.replace()
                except _NotReadyError as error:
                    log.error(  # noqa: TRY400 - the new process logged why
                        "The new server did not start (%s), the old one stays. "
                        "Fix the error above, and send SIGHUP again.",
                        error,
                    )
                    return

    async def _reap(self, process: Process) -> None:
        await process.wait()
        forget(self._directory, process.pid)

    async def _stop(self) -> None:
        """Stop all processes, each of which answers its requests in flight."""
        # first of all: new connections are refused rather than left unanswered
        for listener in self._listeners:
            listener.close()
        running = [one for one in self._reaping if one.returncode is None]
        for process in running:
            process.terminate()
        seconds = self._settings.drain_seconds + self._settings.grace_seconds + _MARGIN_SECONDS
        await asyncio.gather(*(_end(process, seconds) for process in running))
        await asyncio.gather(*self._reaping.values())


class _Worker:
    """One place among the workers: a process that serves, and its successors."""

    def __init__(self, number: int, start: Callable[[int], Awaitable[Process]]) -> None:
        self._number = number
        self._start = start
        self._process: Process | None = None
        self._replacing = asyncio.Lock()
        self._since = 0.0
        self._leaving: set[asyncio.Task[int]] = set()

    async def replace(self, dead: Process | None = None) -> None:
        """Start a new process, and let the old one leave when the new one is ready.

        Nothing happens if ``dead`` is given and was replaced already.
        """
        async with self._replacing:
            if dead is not None and dead is not self._process:
                return
            new = await self._start(self._number)
            old, self._process = self._process, new
            self._since = time.monotonic()
        if old is not None and old.returncode is None:
            with suppress(ProcessLookupError):
                old.send_signal(signal.SIGUSR1)
            self._leaving.add(asyncio.create_task(_end(old, _LEAVE_SECONDS)))

    async def keep(self) -> None:
        """Replace the process whenever it dies."""
        deaths = 0
        while True:
            process = self._process
            assert process is not None  # noqa: S101 - it was started before
            code = await process.wait()
            if process is not self._process:
                continue
            if time.monotonic() - self._since > _STEADY_SECONDS:
                deaths = 0
            event = f"Process {process.pid} died"
            while process is self._process:
                pause = _pause(deaths)
                deaths += 1
                message = "%s (%s); another one is started in %g s."
                log.error(message, event, _describe(code), pause)
                await asyncio.sleep(pause)
                try:
                    await self.replace(process)
                except _NotReadyError as error:
                    event, code = "The new server did not start", error.code


async def _read(pipe: int) -> bytes:
    """Return what a new process writes to a pipe, or nothing if it ends or takes too long."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(pipe, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), _START_SECONDS)
        return os.read(pipe, select.PIPE_BUF)
    except TimeoutError:
        return b""
    finally:
        loop.remove_reader(pipe)


async def _end(process: Process, seconds: float) -> int:
    """Return the exit code of a process, which is killed if it does not end in time."""
    try:
        return await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def _arguments(settings: ServerSettings) -> Iterator[str]:
    """Yield the command line that gives a server these settings."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(value, tuple):
            for one in value:
                yield from (option.removesuffix("s"), str(one))
        elif value is not None and field.repr:  # secrets do not belong on a command line
            yield from (option, str(value))


def _environment(settings: ServerSettings, directory: Path) -> dict[str, str]:
    """Return the environment of a server, with its token and the directory of its metrics."""
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    if settings.token is not None:
        environment[TOKEN_VARIABLE] = settings.token
    return environment | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}


def _pause(deaths: int) -> float:
    """Return the pause, in seconds, after a number of deaths in a row."""
    return min(_FIRST_PAUSE_SECONDS * 2 ** (deaths - 1), _LONGEST_PAUSE_SECONDS) if deaths else 0.0


def _describe(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
