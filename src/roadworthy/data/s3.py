"""S3: what it means when it fails, and how long it is waited for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PATIENCE: Mapping[str, str] = {"AWS_MAX_ATTEMPTS": "3", "AWS_RETRY_MODE": "standard"}
"""How often its clients try, which some take from the environment alone."""
CONNECT_SECONDS, READ_SECONDS = 10, 20
"""How long they wait each time: to reach it, and for each part of its answer."""
ATTEMPTS = 2
"""How often those try that are told here; s3fs tries again what they give up."""


class Trouble(NamedTuple):
    """Why S3 did not do what it was asked, and what a person may do before the next try.

    Both are parts of a sentence.
    """

    cause: str
    remedy: str


_ANSWER = r"\((?:{})\) when calling the \w+ operation"

# What botocore says, in its own words and S3's. The first that is found is meant.
_KNOWN: tuple[tuple[str, Trouble], ...] = (
    (
        r"Unable to locate credentials|Partial credentials found",
        Trouble(
            "there are no credentials for S3",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod an identity",
        ),
    ),
    (
        _ANSWER.format(
            "AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|40[13]"
        ),
        Trouble(
            "S3 refuses the credentials",
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what the pod's identity may do "
            "there",
        ),
    ),
    (
        _ANSWER.format("NoSuchBucket"),
        Trouble("S3 has no such bucket", "make it, or name another one in the address"),
    ),
    (
        r"Could not connect to the endpoint URL|Connect timeout on endpoint URL",
        Trouble("S3 cannot be reached", "check AWS_ENDPOINT_URL and the network to it"),
    ),
    (
        _ANSWER.format("InternalError|ServiceUnavailable|SlowDown|50[0-4]"),
        Trouble("S3 has trouble of its own", "wait until it is mended"),
    ),
    (
        r"Read timeout on endpoint URL",
        Trouble("S3 gives no answer in time", "see that it runs, and check the network to it"),
    ),
    (
        r"Connection was closed before we received"
        r"|reading from response stream|[Pp]ayload is not completed",
        Trouble("the connection to S3 broke off", "check the network to it"),
    ),
)
_WORDS = re.compile(r"\((\w+)\) when calling the (\w+) operation")


def options(address: str) -> dict[str, Any]:
    """Return what fsspec is to be told beside an address: not to wait for S3 for many minutes."""
    if not address.startswith("s3://"):
        return {}
    return {
        "config_kwargs": {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
        }
    }


def trouble(told: str) -> Trouble | None:
    """Return what the words of a client of S3 mean; None where they are not of S3.

    Parameters
    ----------
    told
        What it printed or raised.
    """
    for pattern, known in _KNOWN:
        if re.search(pattern, told):
            found = _WORDS.search(told)
            # Two words of S3's own, by which it can be found in a log of its server.
            words = f" ({found[1]} at {found[2]})" if found else ""
            return Trouble(f"{known.cause}{words}", known.remedy)
    return None


def explained(error: BaseException) -> Trouble | None:
    """Return what an error means; None where it is not of S3.

    s3fs raises an error of the system, and keeps S3's own behind it.
    """
    return trouble(f"{error} {error.__cause__}")


def failures() -> tuple[type[Exception], ...]:
    """Return what the clients of S3 raise. They are imported here: only who fails needs to know."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return OSError, BotoCoreError, ClientError, Boto3Error
