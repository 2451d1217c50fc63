"""``python -m roadworthy.serving``: the model server by itself, as a container runs it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.parent_process import end_with_parent
from roadworthy.serving.process.supervisor import supervise
from roadworthy.serving.settings import LOG_LEVELS, TOKEN_VARIABLE, ServerSettings, read_token


def main(arguments: list[str]) -> int:
    """Serve as the arguments say and return the exit code."""
    try:
        options = vars(parser().parse_args(arguments))
        supervised: list[int] | None = options.pop("supervised")
        if options.pop("with_parent") or supervised is not None:
            end_with_parent()
        options["token"] = read_token(options.pop("token_file"), os.environ)
        options["cors_origins"] = tuple(options["cors_origins"])
        settings = ServerSettings(**options)
        if supervised is None and settings.workers > 1:
            return supervise(settings)
        # it takes its time to import, which a wrong argument need not wait for
        from roadworthy.serving.process.server import serve

        if supervised is None:
            serve(settings)
        else:
            worker, news, *listeners = supervised
            greeting: list[str] = []

            def ready() -> None:
                os.write(news, f"{greeting[0]}\n".encode())
                os.close(news)

            sockets = [socket.socket(fileno=listener) for listener in listeners]
            serve(settings, greeting.append, sockets, ready, worker)
    except RoadworthyError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m roadworthy.serving",
        description="Serve what is deployed, or one bundle.",
        allow_abbrev=False,
    )
    default = ServerSettings(routing=Path())
    made.add_argument(
        *("--routing", "--road"), type=Path, help="directory of routing files to watch"
    )
    made.add_argument("--bundle", type=Path, help="one bundle to serve instead")
    made.add_argument("--version", type=int, help="the version's number of that bundle")
    made.add_argument("--host", default=default.host, help="address (%(default)s)")
    made.add_argument("--port", type=int, default=default.port, help="port (%(default)s)")
    made.add_argument("--client", type=Path, help="directory of static files for /")
    for option, value, text in (
        ("--max-body-bytes", default.max_body_bytes, "largest body of a request"),
        ("--max-rows", default.max_rows, "most rows of a request"),
        ("--max-header-bytes", default.max_header_bytes, "largest head of a request"),
        ("--max-headers", default.max_headers, "most headers of a request"),
        ("--max-in-flight", default.max_in_flight, "most requests that are answered at a time"),
        ("--idle-seconds", default.idle_seconds, "time for a connection that asks nothing"),
        ("--challenger-failures", default.challenger_failures, "failures until it is given up"),
        ("--grace-seconds", default.grace_seconds, "time for open requests when told to stop"),
    ):
        made.add_argument(option, type=int, default=value, help=f"{text} (%(default)s)")
    for option, seconds, text in (
        ("--request-seconds", default.request_seconds, "time for a request and its answer"),
        ("--challenger-seconds", default.challenger_seconds, "time for a version on trial"),
        ("--drain-seconds", default.drain_seconds, "time to answer on, not ready, before a stop"),
        ("--poll-seconds", default.poll_seconds, "time between two looks at the routing files"),
    ):
        made.add_argument(option, type=float, default=seconds, help=f"{text} (%(default)s)")
    made.add_argument("--grpc-port", type=int, help="port for gRPC (none)")
    made.add_argument(
        "--token-file",
        type=Path,
        help=f"file with the token that who asks must show ({TOKEN_VARIABLE}, or none)",
    )
    made.add_argument(
        "--cors-origin",
        dest="cors_origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may read answers; may be given several times (none)",
    )
    made.add_argument(
        "--with-parent", action="store_true", help="end when standard input, a pipe, is closed"
    )
    made.add_argument(
        "--log-level", choices=LOG_LEVELS, default=default.log_level, help="(%(default)s)"
    )
    made.add_argument(
        "--workers", type=int, default=default.workers, help="processes that serve (%(default)s)"
    )
    made.add_argument(
        "--metrics-dir", type=Path, help="where they write their figures (a scratch directory)"
    )
    # For the supervisor alone, see there: which worker it is, the pipe to say ready into, and the
    # sockets, its own first.
    made.add_argument("--supervised", type=int, nargs="+", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
