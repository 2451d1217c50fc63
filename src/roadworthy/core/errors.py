"""Errors that are told to a person: what happened, where, and what to do."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line ends with. Stable: scripts may rely on it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    GATE = 3
    ROLLED_BACK = 4
    INTERRUPTED = 130


class RoadworthyError(Exception):
    """What a person can act upon. The message is one or two sentences: the cause and the remedy."""

    exit_code = ExitCode.FAILED
