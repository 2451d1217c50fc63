"""Access to the Git remote: by a token, or as the user's own Git does it."""

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

_REQUIRES = ("Authentication failed", "could not read Username", "could not read Password")
_REFUSES = "The requested URL returned error: 403"
_NONE = SecretStr("")


class AccessError(RoadworthyError):
    """The settings of the Git remote are invalid, or it refuses access."""


@dataclass(frozen=True)
class Access:
    """Access to a Git remote.

    Parameters
    ----------
    remote
        Its address.
    user, token
        The credentials. Without a token the user's own credential helpers give them.

    Raises
    ------
    AccessError
        The address is invalid, holds a password, or the token would be sent unencrypted.
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
            # An invalid address may hold a password all the same, so it is not shown.
            raise AccessError(
                "ROADWORTHY_GIT_REMOTE is not an address: write it like "
                "https://git.example/cars.git, or name a directory."
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
        """The Git settings by which it asks our credential helper for the token, and no other."""
        if not self._has_token:
            return ()
        key = f"credential.{self._address.scheme}://{self._address.netloc}.helper"
        program = f"{shlex.quote(sys.executable)} -m roadworthy.data.credentials"
        # The empty value removes the user's own helpers, which might store the token.
        return (key, ""), (key, f"!{program}")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of our credential helper: the only place that has the token."""
        if not self._has_token:
            return {}
        return {
            "ROADWORTHY_GIT_REMOTE": self.remote,
            "ROADWORTHY_GIT_USER": self.user,
            "ROADWORTHY_GIT_TOKEN": self.token.get_secret_value(),
        }

    def refusal(self, output: str) -> str:
        """Return a sentence if the remote refused access, or nothing if Git failed otherwise."""
        if any(word in output for word in _REQUIRES):
            if self._has_token:
                return (
                    f"The Git remote {self.remote} refuses the token: put one that may read and "
                    f"write there into ROADWORTHY_GIT_TOKEN, with its user in ROADWORTHY_GIT_USER, "
                    f"and run again."
                )
            return (
                f"The Git remote {self._shown or 'of this clone'} requires a password: put a token "
                f"into ROADWORTHY_GIT_TOKEN, or give git a credential helper, and run again."
            )
        if _REFUSES in output:
            return (
                f"The Git remote {self._shown or 'of this clone'} refuses access (403): allow the "
                f"token in ROADWORTHY_GIT_TOKEN to read and write there, and run again."
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


USERS_OWN = Access("")
"""The access to a repository on this machine, or as the user's own Git has it."""
