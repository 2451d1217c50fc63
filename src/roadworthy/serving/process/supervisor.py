"""Keeps a model server running: restarts it without losing a request, and replaces one that died.

This process holds the listening sockets and answers nothing. Each socket has a worker: one server
after the other, a child of this process, that takes connections from it. While none does,
connections wait. It loads nothing of KServe, so it costs little, and what a server loads and leaks
ends with the server.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
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
"""How long a new server may take until it is ready."""
_LEAVE_SECONDS = 120.0
"""How long the one before may take to leave. It gives itself less: an idle connection's time."""
_STEADY_SECONDS = 10.0
"""A server that died after this time of service is replaced at once."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_MARGIN_SECONDS = 5.0

_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

log = logging.getLogger(__name__)


def supervise(settings: ServerSettings, prepare: Callable[[], object] = lambda: None) -> int:
    """Serve until SIGINT or SIGTERM; on SIGHUP restart without losing a request.

    A restart starts a new server, and lets the old one go once the new one is ready. If that does
    not come up, the old one stays. Several are restarted one after the other. A server that dies is
    replaced: at once the first time, after growing pauses when it keeps dying.

    SIGHUP is also what a terminal sends when it is closed: then this ends, as any program does.

    Parameters
    ----------
    settings
        What to serve, and where.
    prepare
        Called before a server is started in the place of another one: it is to see that what is
        to be served is there, and to raise nothing.

    Returns
    -------
    int
        0 after a signal; the exit code of the first server if it said why it cannot start.

    Raises
    ------
    ServerError
        The port is taken, a directory is not there, or the first server was killed.
    """
    logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIMES)
    logging.getLogger("roadworthy").setLevel(settings.log_level.upper())
    check(settings)
    # nohup, which ignores the signal, says that the terminal does not matter
    terminal = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()
    with (
        _signals() as next_signals,
        _listening(settings) as listeners,
        _shared(settings.metrics_dir) as directory,
    ):
        supervisor = _Supervisor(settings, listeners, directory, prepare, has_terminal=terminal)
        try:
            return supervisor.run(next_signals)
        finally:
            # before the servers end: a new connection is refused rather than left unanswered
            for listener in listeners:
                listener.close()
            supervisor.stop()


@dataclass(eq=False)
class _Child:
    """A server process; ``news`` is the pipe it says ready into, ``due`` when its time is up."""

    process: subprocess.Popen[bytes]
    news: int
    due: float
    directory: Path
    since: float = 0.0

    def expire(self) -> None:
        if time.monotonic() > self.due:
            self.process.kill()

    def end(self, seconds: float) -> int:
        """Wait for its end, kill it when the time is up; return its exit code."""
        try:
            code = self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.close()
        return code

    def close(self) -> None:
        """Give back the pipes and what it told of itself, once it has ended."""
        os.close(self.news)
        if self.process.stdin is not None:
            self.process.stdin.close()
        forget(self.directory, self.process.pid)


class _Supervisor:
    """The workers, each of which is one server after the other."""

    def __init__(
        self,
        settings: ServerSettings,
        listeners: Sequence[socket.socket],
        directory: Path,
        prepare: Callable[[], object],
        *,
        has_terminal: bool,
    ) -> None:
        self._settings = settings
        self._has_terminal = has_terminal
        self._workers = [
            _Worker(number, settings, listeners, directory, prepare)
            for number in range(1, settings.workers + 1)
        ]
        self._greeting = ""

    def run(self, next_signals: Callable[[list[int], float | None], set[int]]) -> int:
        workers = self._workers
        while True:
            self._start_those_due()
            news = [fd for worker in workers for fd in worker.news]
            heard = next_signals(news, self._seconds())
            if heard & {signal.SIGINT, signal.SIGTERM}:
                return 0
            if signal.SIGHUP in heard:
                if self._has_terminal and not _has_terminal():
                    return 0
                for worker in workers:
                    worker.restart()
            try:
                for worker in workers:
                    self._look_at(worker)
            except _NotStartedError as error:
                return error.code

    def stop(self) -> None:
        """End all servers; each answers what it is answering."""
        children = [child for worker in self._workers for child in worker.all()]
        for child in children:
            child.process.terminate()
        settings = self._settings
        longest = settings.drain_seconds + settings.grace_seconds + _MARGIN_SECONDS
        end = time.monotonic() + longest
        for child in children:
            child.end(end - time.monotonic())

    def _start_those_due(self) -> None:
        """Start what is to serve in a place where none does; restart one after the other."""
        for worker in self._workers:
            if not worker.serves:
                worker.start_if_due()
        for worker in self._workers:
            if not any(other.comes for other in self._workers):
                worker.start_if_due()

    def _seconds(self) -> float | None:
        """Return how long there is nothing to do unless a signal or news come."""
        dues = [due for worker in self._workers for due in worker.dues()]
        return max(min(dues) - time.monotonic(), 0) + 0.001 if dues else None

    def _look_at(self, worker: _Worker) -> None:
        greeting = worker.look_at_coming()
        if greeting:
            self._greeting = greeting
        elif greeting is not None:  # what one does not start with, no other does
            for other in self._workers:
                other.stay()
        worker.look_at_serving()
        worker.look_at_leaving()
        if self._greeting and all(one.serves and one.settled for one in self._workers):
            sys.stdout.write(self._greeting)
            sys.stdout.flush()
            self._greeting = ""


class _NotStartedError(Exception):
    """The first server said why it cannot start, and ended with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Worker:
    """One place: a server that serves, perhaps one that comes, and those that leave."""

    def __init__(
        self,
        number: int,
        settings: ServerSettings,
        listeners: Sequence[socket.socket],
        directory: Path,
        prepare: Callable[[], object],
    ) -> None:
        self._prepare = prepare
        self._number = number
        self._settings = settings
        self._listeners = listeners
        self._directory = directory
        self._serving: _Child | None = None
        self._coming: _Child | None = None
        self._leaving: list[_Child] = []
        self._served = False
        self._deaths = 0
        self._start_at: float | None = 0.0

    @property
    def serves(self) -> bool:
        return self._serving is not None

    @property
    def comes(self) -> bool:
        return self._coming is not None

    @property
    def settled(self) -> bool:
        """Whether no server comes and none is to come."""
        return self._coming is None and self._start_at is None

    @property
    def news(self) -> list[int]:
        return [] if self._coming is None else [self._coming.news]

    def all(self) -> list[_Child]:
        return [c for c in (self._serving, self._coming, *self._leaving) if c is not None]

    def dues(self) -> list[float]:
        """Return when something is to be done."""
        dues = [child.due for child in self._leaving]
        if self._coming is not None:
            dues.append(self._coming.due)
        elif self._start_at:
            dues.append(self._start_at)
        return dues

    def restart(self) -> None:
        self._start_at = 0.0

    def stay(self) -> None:
        """Start no other server in the place of one that serves."""
        if self._serving is not None:
            self._start_at = None

    def start_if_due(self) -> None:
        if self._coming is not None or self._start_at is None:
            return
        if time.monotonic() >= self._start_at:
            self._start_at = None
            if self._served:
                self._prepare()
            self._coming = _start(self._settings, self._listeners, self._number, self._directory)

    def look_at_coming(self) -> str | None:
        """Let a new server that is ready serve.

        Returns
        -------
        str or None
            What a new server says, nothing if it did not start and the old one stays; None if
            there are no news.
        """
        coming = self._coming
        if coming is None:
            return None
        coming.expire()
        if not select.select([coming.news], [], [], 0)[0]:
            return None
        self._coming = None
        told = os.read(coming.news, select.PIPE_BUF)
        if told:
            self._succeed(coming)
            return told.decode()
        code = coming.end(_MARGIN_SECONDS)
        if self._serving is not None:
            log.error(
                "The new server did not start (%s), the old one stays. "
                "Mend what it said above, and send SIGHUP again.",
                _how(code),
            )
            return ""
        if self._served:
            self._start_again("The new server did not start", code)
            return None
        if code > 0:
            raise _NotStartedError(code)
        raise ServerError(
            f"The model server did not start ({_how(code)}). Look at what it said before."
        )

    def look_at_serving(self) -> None:
        serving = self._serving
        if serving is None or serving.process.poll() is None:
            return
        self._serving = None
        serving.close()
        if time.monotonic() - serving.since > _STEADY_SECONDS:
            self._deaths = 0
        self._start_again(f"Process {serving.process.pid} died", serving.process.returncode)

    def look_at_leaving(self) -> None:
        for child in self._leaving:
            child.expire()
        for child in [c for c in self._leaving if c.process.poll() is not None]:
            self._leaving.remove(child)
            child.close()

    def _succeed(self, coming: _Child) -> None:
        before, self._serving = self._serving, coming
        coming.since = time.monotonic()
        self._served = True
        place = f" as worker {self._number}" if self._settings.workers > 1 else ""
        log.info("Process %d serves%s.", coming.process.pid, place)
        if before is not None and before.process.poll() is None:
            before.process.send_signal(signal.SIGUSR1)
        if before is not None:
            before.due = time.monotonic() + self._settings.grace_seconds + _LEAVE_SECONDS
            self._leaving.append(before)

    def _start_again(self, what: str, code: int) -> None:
        if self._coming is not None or self._start_at is not None:
            log.error("%s (%s); another one is on its way.", what, _how(code))
            return
        pause = _pause(self._deaths)
        self._deaths += 1
        self._start_at = time.monotonic() + pause
        log.error("%s (%s); another one is started in %g s.", what, _how(code), pause)


def _start(
    settings: ServerSettings, listeners: Sequence[socket.socket], number: int, directory: Path
) -> _Child:
    """Start a server on its socket, with those of the others.

    Its standard input ends with this process, and so does it.
    """
    news, ready = os.pipe()
    sockets = [listener.fileno() for listener in listeners]
    ours = sockets.pop(number - 1)
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "roadworthy.serving"),
                *_arguments(replace(settings, metrics_dir=directory)),
                *("--supervised", *map(str, (number, ready, ours, *sockets))),
            ],
            stdin=subprocess.PIPE,
            pass_fds=(ready, ours, *sockets),
            env=_environment(settings) | {"PROMETHEUS_MULTIPROC_DIR": str(directory)},
            # Ctrl-C is for this process, which tells its children in its own way.
            process_group=0,
        )
    finally:
        os.close(ready)
    return _Child(process, news, time.monotonic() + _START_SECONDS, directory)


def _arguments(settings: ServerSettings) -> Iterator[str]:
    """Yield the command line that gives a server these settings."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(value, tuple):
            for one in value:
                yield from (option.removesuffix("s"), str(one))
        elif value is not None and field.repr:  # a secret is not for the command line
            yield from (option, str(value))


def _environment(settings: ServerSettings) -> dict[str, str]:
    """Return the environment of a server: with the token, which its command line must not tell."""
    ours = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return ours | ({} if settings.token is None else {TOKEN_VARIABLE: settings.token})


@contextmanager
def _listening(settings: ServerSettings) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in listen(settings)]


@contextmanager
def _shared(parent: Path | None) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(shared(parent))
        except OSError as error:
            raise ServerError(
                f"There is no writing figures in {parent or tempfile.gettempdir()} ({error}). "
                f"Let the server write there, or name another directory with --metrics-dir."
            ) from error
        yield directory


def _pause(deaths: int) -> float:
    """Return how long to wait, in seconds, after so many deaths one after the other."""
    return min(_FIRST_PAUSE_SECONDS * 2 ** (deaths - 1), _LONGEST_PAUSE_SECONDS) if deaths else 0.0


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextmanager
def _signals() -> Iterator[Callable[[list[int], float | None], set[int]]]:
    """Collect signals; give a function that waits for some, for news in pipes, or so long."""
    incoming, noted = os.pipe()
    for end in (incoming, noted):
        os.set_blocking(end, False)
    fd_before = signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
    # A handler that does nothing: Python notes the number in the pipe only where there is one.
    before = {sign: signal.signal(sign, lambda *_: None) for sign in _HEARD}

    def next_signals(news: list[int], seconds: float | None) -> set[int]:
        found, _, _ = select.select([incoming, *news], [], [], seconds)
        return set(os.read(incoming, 4096)) if incoming in found else set()

    try:
        yield next_signals
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        signal.set_wakeup_fd(fd_before)
        for end in (incoming, noted):
            os.close(end)
