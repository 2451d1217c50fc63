"""Git's credential helper of a run: it hands the token to Git, and to nobody else.

Git starts ``python -m roadworthy.data.credentials get`` and writes to it whom it wants to enter;
see gitcredentials(7). The token comes from the environment, so that it stands in no argument, no
address and no file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The hosts that are this machine, to which nothing has to be encrypted."""


def main() -> None:
    """Answer Git; that it may forget or should keep the token is let go."""
    if sys.argv[1:] == ["get"]:
        sys.stdout.write(answer(sys.stdin.read(), os.environ))


def answer(question: str, environment: Mapping[str, str]) -> str:
    """Return user and token in Git's words, or nothing where they are not for whom Git asks."""
    asked = dict(line.split("=", 1) for line in question.splitlines() if "=" in line)
    # A secret that was made from a file often ends with the end of its line.
    token = environment.get("ROADWORTHY_GIT_TOKEN", "").strip()
    remote = urlsplit(environment.get("ROADWORTHY_GIT_REMOTE", ""))
    same = (asked.get("protocol"), asked.get("host")) == (remote.scheme, remote.netloc)
    if not token or not same or not is_private(remote.scheme, remote.hostname or ""):
        return ""
    return f"username={environment.get('ROADWORTHY_GIT_USER', '')}\npassword={token}\n"


def is_private(scheme: str, host: str) -> bool:
    """Return whether nobody on the way to a host can read what is sent."""
    return scheme == "https" or (scheme == "http" and host in LOOPBACK)


if __name__ == "__main__":
    main()
