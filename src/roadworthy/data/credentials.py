"""Git's credential helper of a run: it gives the token to Git for the remote alone.

Git starts ``python -m roadworthy.data.credentials get`` and writes the host to its standard input;
see gitcredentials(7). The token comes from the environment, so that it is in no argument, address
or file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The hosts of this machine, for which no encryption is required."""


def main() -> None:
    """Answer Git's ``get``; ``store`` and ``erase`` are ignored."""
    if sys.argv[1:] == ["get"]:
        sys.stdout.write(answer(sys.stdin.read(), os.environ))


def answer(request: str, environment: Mapping[str, str]) -> str:
    """Return user and token in Git's format, or nothing for another host."""
    asked = dict(line.split("=", 1) for line in request.splitlines() if "=" in line)
    # A secret that was made from a file often ends with a line break.
    token = environment.get("ROADWORTHY_GIT_TOKEN", "").strip()
    remote = urlsplit(environment.get("ROADWORTHY_GIT_REMOTE", ""))
    same = (asked.get("protocol"), asked.get("host")) == (remote.scheme, remote.netloc)
    if not token or not same or not is_private(remote.scheme, remote.hostname or ""):
        return ""
    return f"username={environment.get('ROADWORTHY_GIT_USER', '')}\npassword={token}\n"


def is_private(scheme: str, host: str) -> bool:
    """Return whether the connection to a host is encrypted, or stays on this machine."""
    return scheme == "https" or (scheme == "http" and host in LOOPBACK)


if __name__ == "__main__":
    main()
