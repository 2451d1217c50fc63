"""Keeps a model server running: restarts it without losing a request, and replaces one that died.

This process holds the listening socket and answers nothing. The servers are its children and take
connections from that socket, one server after the other: while none does, connections wait. It
loads nothing of KServe, so it costs little, and what a server loads and leaks ends with the server.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from roadworthy.serving.settings import (
    LOG_FORMAT,
    LOG_TIMES,
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


def supervise(settings: ServerSettings) -> int:
    """Serve until SIGINT or SIGTERM; on SIGHUP restart without losing a request.

    A restart starts a new server, and lets the old one go once the new one is ready. If that does
    not come up, the old one stays. A server that dies is replaced: at once the first time, after
    growing pauses when it keeps dying.

    SIGHUP is also what a terminal sends when it is closed: then this ends, as any program does.

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
    with _signals() as next_signals, listen(settings) as listener:
        supervisor = _Supervisor(settings, listener, has_terminal=terminal)
        try:
            return supervisor.run(next_signals)
        finally:
            # before the servers end: a new connection is refused rather than left unanswered
            listener.close()
            supervisor.stop()


@dataclass(eq=False)
class _Child:
    """A server process; ``news`` is the pipe it says ready into, ``due`` when its time is up."""

    process: subprocess.Popen[bytes]
    news: int
    due: float
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
        """Give back the pipes, once it has ended."""
        os.close(self.news)
        if self.process.stdin is not None:
            self.process.stdin.close()


class _Supervisor:
    """The servers: one that serves, perhaps one that comes, and those that leave."""

    def __init__(
        self, settings: ServerSettings, listener: socket.socket, *, has_terminal: bool
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._has_terminal = has_terminal
        self._serving: _Child | None = None
        self._coming: _Child | None = None
        self._leaving: list[_Child] = []
        self._served = False
        self._deaths = 0
        self._start_at: float | None = 0.0

    def run(self, next_signals: Callable[[list[int], float | None], set[int]]) -> int:
        while True:
            self._start_if_due()
            heard = next_signals(self._news(), self._seconds())
            if heard & {signal.SIGINT, signal.SIGTERM}:
                return 0
            if signal.SIGHUP in heard:
                if self._has_terminal and not _has_terminal():
                    return 0
                self._start_at = 0.0
            failed = self._look_at_coming()
            if failed is not None:
                return failed
            self._look_at_serving()
            self._look_at_leaving()

    def stop(self) -> None:
        """End all servers; each answers what it is answering."""
        children = self._all()
        for child in children:
            child.process.terminate()
        end = time.monotonic() + self._settings.grace_seconds + _MARGIN_SECONDS
        for child in children:
            child.end(end - time.monotonic())

    def _all(self) -> list[_Child]:
        return [c for c in (self._serving, self._coming, *self._leaving) if c is not None]

    def _news(self) -> list[int]:
        return [] if self._coming is None else [self._coming.news]

    def _seconds(self) -> float | None:
        """Return how long there is nothing to do unless a signal or news come."""
        dues = [child.due for child in self._leaving]
        if self._coming is not None:
            dues.append(self._coming.due)
        elif self._start_at is not None:
            dues.append(self._start_at)
        return max(min(dues) - time.monotonic(), 0) + 0.001 if dues else None

    def _start_if_due(self) -> None:
        if self._coming is not None or self._start_at is None:
            return
        if time.monotonic() >= self._start_at:
            self._start_at = None
            self._coming = _start(self._settings, self._listener)

    def _look_at_coming(self) -> int | None:
        """Let a new server that is ready serve; return the exit code of a first that failed."""
        coming = self._coming
        if coming is None:
            return None
        coming.expire()
        if not select.select([coming.news], [], [], 0)[0]:
            return None
        self._coming = None
        if os.read(coming.news, 1):
            self._succeed(coming)
            return None
        code = coming.end(_MARGIN_SECONDS)
        if self._serving is not None:
            log.error(
                "The new server did not start (%s), the old one stays. "
                "Mend what it said above, and send SIGHUP again.",
                _how(code),
            )
        elif self._served:
            self._start_again("The new server did not start", code)
        elif code > 0:
            return code
        else:
            raise ServerError(
                f"The model server did not start ({_how(code)}). Look at what it said before."
            )
        return None

    def _succeed(self, coming: _Child) -> None:
        before, self._serving = self._serving, coming
        coming.since = time.monotonic()
        self._served = True
        log.info("Process %d serves.", coming.process.pid)
        if before is not None and before.process.poll() is None:
            before.process.send_signal(signal.SIGUSR1)
        if before is not None:
            before.due = time.monotonic() + self._settings.grace_seconds + _LEAVE_SECONDS
            self._leaving.append(before)

    def _look_at_serving(self) -> None:
        serving = self._serving
        if serving is None or serving.process.poll() is None:
            return
        self._serving = None
        serving.close()
        if time.monotonic() - serving.since > _STEADY_SECONDS:
            self._deaths = 0
        self._start_again(f"Process {serving.process.pid} died", serving.process.returncode)

    def _start_again(self, what: str, code: int) -> None:
        if self._coming is not None or self._start_at is not None:
            log.error("%s (%s); another one is on its way.", what, _how(code))
            return
        pause = _pause(self._deaths)
        self._deaths += 1
        self._start_at = time.monotonic() + pause
        log.error("%s (%s); another one is started in %g s.", what, _how(code), pause)

    def _look_at_leaving(self) -> None:
        for child in self._leaving:
            child.expire()
        for child in [c for c in self._leaving if c.process.poll() is not None]:
            self._leaving.remove(child)
            child.close()


def _start(settings: ServerSettings, listener: socket.socket) -> _Child:
    """Start a server on the socket. Its standard input ends with this process, and so does it."""
    news, ready = os.pipe()
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "roadworthy.serving", *_arguments(settings)),
                *("--supervised", str(listener.fileno()), str(ready)),
            ],
            stdin=subprocess.PIPE,
            pass_fds=(listener.fileno(), ready),
            # Ctrl-C is for this process, which tells its children in its own way.
            process_group=0,
        )
    finally:
        os.close(ready)
    return _Child(process, news, time.monotonic() + _START_SECONDS)


def _arguments(settings: ServerSettings) -> Iterator[str]:
    """Yield the command line that gives a server these settings."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is not None:
            yield from (f"--{field.name.replace('_', '-')}", str(value))


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
