"""End a process with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

_GRACE_SECONDS = 10.0
"""How long a process may take to leave before it is killed."""


def end_with_parent(*, group: bool = False) -> None:
    """End this process when its parent has ended, however that happened.

    The parent gives it a pipe as standard input, writes nothing to it, and keeps its end open: the
    operating system closes that end also when the parent is killed.

    Parameters
    ----------
    group
        Kill the process group that this process leads, at once. Otherwise this process alone gets
        SIGTERM, and SIGKILL if it is still there 10 seconds later.
    """
    if group:  # beside this process, not a thread in it: a process that has any must not fork
        multiprocessing.get_context("fork").Process(target=_end_group, daemon=True).start()
    else:
        threading.Thread(target=_end, daemon=True).start()


def _end_group() -> None:
    _wait_for_end_of_input()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end() -> None:
    _wait_for_end_of_input()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_end_of_input() -> None:
    # Not sys.stdin: its lock, held by a thread that waits, is fatal when the interpreter ends.
    while os.read(0, 1024):
        continue
