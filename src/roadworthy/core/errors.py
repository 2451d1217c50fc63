"""Errors for a user: what happened, where, and what to do."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line ends with. Stable: scripts may rely on it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """Make a member of a code and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done: released, or nothing new"
    FAILED = 1, "failed: the error says why and what to do, the log has the traceback"
    USAGE = 2, "the command was used wrongly"
    GATE = 3, "the gate refused the candidate; the report says why"
    ROLLED_BACK = 4, "a version was rolled back: its analysis failed, or a user aborted it"
    INTERRUPTED = 130, "stopped by Ctrl-C"


class RoadworthyError(Exception):
    """An error that a user can act on. The message is one or two sentences: cause and remedy."""

    exit_code = ExitCode.FAILED
