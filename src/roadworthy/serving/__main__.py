"""``python -m roadworthy.serving``: the model server, as a container runs it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

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
        # imported late: an error in the arguments need not wait for it
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
        description="Serve the deployed versions, or one bundle.",
        allow_abbrev=False,
    )
    for name, hint in get_type_hints(ServerSettings, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        default = getattr(ServerSettings, name)
        names = [f"--{name.replace('_', '-')}"]
        if name == "routing":
            names.append("--road")  # the former name, kept for one release
        kind = next(one for one in (*get_args(hint.__origin__), hint.__origin__) if one is not None)
        options = {"type": kind, "default": default}
        shown = "" if default is None else " (%(default)s)"
        if isinstance(default, tuple):
            names = [names[0].removesuffix("s")]
            options = {"dest": name, "action": "append", "default": [], "metavar": "ORIGIN"}
            shown = " (none)"
        elif name == "log_level":
            options["choices"] = LOG_LEVELS
        made.add_argument(*names, help=hint.__metadata__[0] + shown, **options)
    made.add_argument(
        "--token-file",
        type=Path,
        help=f"file with the token that requests need ({TOKEN_VARIABLE}, or none)",
    )
    made.add_argument(
        "--with-parent", action="store_true", help="end when standard input, a pipe, is closed"
    )
    # For the supervisor only: the worker's number, the pipe to report readiness, and the listening
    # sockets, its own first.
    made.add_argument("--supervised", type=int, nargs="+", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
