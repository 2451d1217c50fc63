"""Identify a process so that another one can see whether it still lives."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def here(pid: int | None = None) -> str:
    """Return a process of this machine as ``host:pid:start``.

    The start, in the clock ticks of the kernel, tells it from a later process of the same number;
    it is empty where the kernel does not tell.
    """
    number = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}:{number}:{_start(number)}"


def lives(holder: str) -> bool | None:
    """Return whether a process lives; None when that cannot be seen from here."""
    host, _, rest = holder.partition(":")
    number, _, start = rest.partition(":")
    if host != socket.gethostname() or not number.isdecimal():
        return None
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's, which lives
        pass
    return not _is_zombie(int(number)) and start in ("", _start(int(number)))


def age() -> float | None:
    """Return for how many seconds this process lives; None where the kernel does not tell."""
    start = _start(os.getpid())
    with suppress(OSError, ValueError):
        up = float(Path("/proc/uptime").read_text().split()[0])
        return up - int(start) / os.sysconf("SC_CLK_TCK")
    return None


def _start(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] == ["Z"]


def _stat(pid: int) -> list[str]:
    """Return what the kernel tells of a process, from its state on; nothing where it does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
