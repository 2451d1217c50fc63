"""An API server, asked by plain paths: what is there, who one is, and what one may do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from roadworthy.core.errors import RoadworthyError

_FORBIDDEN, _ABSENT = 403, 404


class NotReachedError(RoadworthyError):
    """The API server cannot be asked. ``remedy`` is the command that mends it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class RefusedError(RoadworthyError):
    """The API server answered with a status other than 2xx."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_forbidden(self) -> bool:
        """Whether one may not ask that."""
        return self.status == _FORBIDDEN

    @property
    def is_absent(self) -> bool:
        """Whether there is no such thing."""
        return self.status == _ABSENT


class Right(NamedTuple):
    """One thing that somebody may do, or not."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        """Return it as ``kubectl auth can-i`` takes it, without the namespace."""
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}{f'/{self.name}' if self.name else ''}"


class Api(Protocol):
    """What the checks ask. All raise RefusedError, and NotReachedError."""

    @property
    def address(self) -> str:
        """The API server's address."""
        ...

    @property
    def who(self) -> str:
        """Whom the API server takes one for, as far as that can be told."""
        ...

    def get(self, path: str, *, metadata: bool = False) -> Any:
        """Return what is at a path; with ``metadata`` without its content."""
        ...

    def may(self, right: Right, account: str = "") -> bool:
        """Return whether one may do something, or whether a service account of there may."""
        ...


class Connection:
    """An API server that is connected to once, by whoever asks first.

    Parameters
    ----------
    connect
        Makes the connection, and has been answered by the API server when it returns.
    """

    def __init__(self, connect: Callable[[], Api]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._made: Api | NotReachedError | None = None

    def api(self) -> Api:
        """Return the API server.

        Raises
        ------
        NotReachedError
            It cannot be asked.
        """
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._connect()
                except NotReachedError as error:
                    self._made = error
                except Exception as error:  # noqa: BLE001 - one line, and not one of each check
                    told = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
                    self._made = NotReachedError(told, "kubectl version")
        if isinstance(self._made, NotReachedError):
            raise self._made
        return self._made


def review(right: Right) -> Mapping[str, str]:
    """Return a right as the API server's reviews take it."""
    named = {"verb": right.verb, "group": right.group, "resource": right.resource}
    return {**named, "namespace": right.namespace, **({"name": right.name} if right.name else {})}
