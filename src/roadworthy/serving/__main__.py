"""``python -m roadworthy.serving``: the model server by itself, as a container runs it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from roadworthy.errors import RoadworthyError
from roadworthy.parent import end_with_parent
from roadworthy.serving.settings import LOG_LEVELS, ServerSettings


def main(arguments: list[str]) -> int:
    """Serve as the arguments say and return the exit code."""
    try:
        options = vars(_parser().parse_args(arguments))
        supervised: list[int] | None = options.pop("supervised")
        if options.pop("with_parent") or supervised is not None:
            end_with_parent()
        settings = ServerSettings(**options)
        # KServe takes seconds to import, which a wrong argument need not wait for
        from roadworthy.serving.server import serve

        if supervised is None:
            serve(settings)
        else:
            listener, news = supervised

            def ready() -> None:
                os.write(news, b"ready\n")
                os.close(news)

            serve(settings, listener=socket.socket(fileno=listener), ready=ready)
    except RoadworthyError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roadworthy.serving",
        description="Serve what is on the road, or one bundle.",
        allow_abbrev=False,
    )
    default = ServerSettings(road=Path())
    parser.add_argument("--road", type=Path, help="directory of roads to watch")
    parser.add_argument("--bundle", type=Path, help="one bundle to serve instead")
    parser.add_argument("--version", type=int, help="the version's number of that bundle")
    parser.add_argument("--host", default=default.host, help="address (%(default)s)")
    parser.add_argument("--port", type=int, default=default.port, help="port (%(default)s)")
    parser.add_argument("--client", type=Path, help="directory of static files for /")
    for option, value, text in (
        ("--max-body-bytes", default.max_body_bytes, "largest body of a request"),
        ("--max-rows", default.max_rows, "most rows of a request"),
        ("--grace-seconds", default.grace_seconds, "time for open requests when told to stop"),
    ):
        parser.add_argument(option, type=int, default=value, help=f"{text} (%(default)s)")
    parser.add_argument(
        "--poll-seconds",
        type=float,
        default=default.poll_seconds,
        help="time between two looks at the roads (%(default)s)",
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input, a pipe, is closed"
    )
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default=default.log_level, help="(%(default)s)"
    )
    # For the supervisor alone, see there: the socket to serve, and the pipe to say ready into.
    parser.add_argument("--supervised", type=int, nargs=2, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
