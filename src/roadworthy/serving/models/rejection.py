"""Why a request is refused: a status, one sentence, and the problem of each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RETRY_SECONDS = "1"
"""The ``retry-after`` of a request that can be answered later."""

Details = Sequence[Mapping[str, Any]]


class Rejection(Exception):  # noqa: N818
    """A request is refused.

    Parameters
    ----------
    status
        The HTTP status: 4xx, or 503 while no version can answer.
    sentence
        What is wrong and what to send instead.
    details
        One entry per problem: ``row``, ``field``, ``problem``, ``bound``, ``unit``, ``input``.
    headers
        Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        details: Details = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.details = details
        self.headers = headers or {}

    @property
    def document(self) -> dict[str, Any]:
        """The body of the response."""
        return {"error": self.sentence} | ({"details": list(self.details)} if self.details else {})


def unavailable(sentence: str) -> Rejection:
    """Return a rejection with status 503 that tells the client to retry."""
    return Rejection(503, sentence, headers={"retry-after": RETRY_SECONDS})


def too_large(limit: int) -> Rejection:
    """Return the rejection of a body that is too large."""
    return Rejection(
        413, f"The body is too large: send at most {limit} bytes, in several requests."
    )
