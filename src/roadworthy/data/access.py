"""How Git enters the remote: with a token, or as the person's own Git does."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data.credentials import is_private

_DEMANDS = ("Authentication failed", "could not read Username", "could not read Password")
_REFUSES = "The requested URL returned error: 403"
_NONE = SecretStr("")


class AccessError(RoadworthyError):
    """The Git remote cannot be entered as the settings say, or does not let us in."""


@dataclass(frozen=True)
class Access:
    """The way into a Git remote.

    Parameters
    ----------
    remote
        Its address.
    user, token
        What is shown there. Without a token it is what the person's own credential helpers say.

    Raises
    ------
    AccessError
        The address is none, holds a password, or the token would go to it unencrypted.
    """

    remote: str
    user: str = ""
    token: SecretStr = _NONE

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the access of the settings."""
        return cls(settings.git_remote, settings.git_user, settings.git_token)

    def __post_init__(self) -> None:
        try:
            address = self._address
            address.port  # noqa: B018 - whether it is a number is seen when it is asked for
        except ValueError:
            # What is no address may hold a password all the same, so it is not told.
            raise AccessError(
                "ROADWORTHY_GIT_REMOTE is no address: write it like https://git.example/cars.git, "
                "or name a directory."
            ) from None
        if address.scheme in ("http", "https") and (address.query or address.fragment):
            raise AccessError(
                f"ROADWORTHY_GIT_REMOTE ({self._shown}) has a part after ? or #, where others "
                f"could read a token: take it out, and put a token into ROADWORTHY_GIT_TOKEN."
            )
        if address.scheme in ("http", "https") and "@" in address.netloc:
            raise AccessError(
                f"ROADWORTHY_GIT_REMOTE ({self._shown}) holds a user or a password, which others "
                f"could read there: take it out, and put the name into ROADWORTHY_GIT_USER and the "
                f"password or token into ROADWORTHY_GIT_TOKEN."
            )
        scheme, host = address.scheme, address.hostname or ""
        if self.token and scheme == "http" and not is_private(scheme, host):
            raise AccessError(
                f"The Git token is not sent to {self._shown} where others could read it on the "
                f"way: write https:// in ROADWORTHY_GIT_REMOTE, or unset ROADWORTHY_GIT_TOKEN."
            )

    @property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """Git's settings that make it ask us for the token, and nobody else."""
        if not self._has_token:
            return ()
        key = f"credential.{self._address.scheme}://{self._address.netloc}.helper"
        program = f"{shlex.quote(sys.executable)} -m roadworthy.data.credentials"
        # Empty, it takes away the person's own helpers, one of which would write the token down.
        return (key, ""), (key, f"!{program}")

    @property
    def variables(self) -> dict[str, str]:
        """What our credential helper reads: the one place in which the token stands."""
        if not self._has_token:
            return {}
        return {
            "ROADWORTHY_GIT_REMOTE": self.remote,
            "ROADWORTHY_GIT_USER": self.user,
            "ROADWORTHY_GIT_TOKEN": self.token.get_secret_value(),
        }

    def refusal(self, output: str) -> str:
        """Return a sentence if Git was not let in, or nothing if it failed for another reason."""
        if any(word in output for word in _DEMANDS):
            if self._has_token:
                return (
                    f"The Git remote {self.remote} refuses the token: put one that may read and "
                    f"write there into ROADWORTHY_GIT_TOKEN, with its user in ROADWORTHY_GIT_USER, "
                    f"and run again."
                )
            return (
                f"The Git remote {self._shown or 'of this clone'} demands a password: put a token "
                f"into ROADWORTHY_GIT_TOKEN, or give git a credential helper, and run again."
            )
        if _REFUSES in output:
            return (
                f"The Git remote {self._shown or 'of this clone'} forbids it (403): let the token "
                f"in ROADWORTHY_GIT_TOKEN read and write there, and run again."
            )
        return ""

    @property
    def _has_token(self) -> bool:
        return bool(self.token) and self._address.scheme in ("http", "https")

    @property
    def _address(self) -> SplitResult:
        return urlsplit(self.remote)

    @property
    def _shown(self) -> str:
        """The address without what may be secret in it."""
        address = self._address
        netloc = address.netloc.rpartition("@")[2]
        if address.scheme not in ("http", "https"):
            return address._replace(netloc=netloc).geturl()
        return address._replace(netloc=netloc, query="", fragment="").geturl()


PERSONS_OWN = Access("")
"""The access of a repository on this machine, or as the person's own Git has it."""
