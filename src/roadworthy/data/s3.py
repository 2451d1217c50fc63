"""S3: time-outs, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PATIENCE: Mapping[str, str] = {"AWS_MAX_ATTEMPTS": "3", "AWS_RETRY_MODE": "standard"}
"""How often its clients try; some read that from the environment alone."""
CONNECT_SECONDS, READ_SECONDS = 10, 20
"""The time-outs of one try: to connect, and for each part of the response."""
ATTEMPTS = 2
"""How often fsspec's client tries; s3fs repeats some of what it gives up."""


class Trouble(NamedTuple):
    """Why S3 failed, and what to do before the next try, as parts of a sentence."""

    cause: str
    remedy: str


_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the rights of the pod's identity"
_NONE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod an identity"
_NETWORK = "check AWS_ENDPOINT_URL, that S3 runs, and the network to it"
_REFUSED = "AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|40[13]"
_BROKEN = "Connection was closed before|reading from response stream|[Pp]ayload is not completed"
# Messages of botocore, which quote S3's own codes. The first match counts.
_KNOWN = (
    ("Unable to locate cred|Partial cred", Trouble("there are no credentials for S3", _NONE)),
    (rf"\(({_REFUSED})\) when calling", Trouble("S3 refuses the credentials", _KEYS)),
    (r"\(NoSuchBucket\)", Trouble("S3 has no such bucket", "create it, or name another one")),
    (
        r"\((InternalError|ServiceUnavailable|SlowDown|50[0-4])\) when calling",
        Trouble("S3 has an internal error", "wait until it is fixed"),
    ),
    ("Could not connect to|Connect timeout on", Trouble("S3 cannot be reached", _NETWORK)),
    ("Read timeout on endpoint", Trouble("S3 does not respond in time", _NETWORK)),
    (_BROKEN, Trouble("the connection to S3 broke", _NETWORK)),
)
_CODE = re.compile(r"\((\w+)\) when calling the (\w+) operation")


def options(address: str) -> dict[str, Any]:
    """Return the time-outs for fsspec's client of an address; none where it is not S3."""
    if not address.startswith("s3://"):
        return {}
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    patience = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    return {"config_kwargs": {**patience, "retries": retries}}


def trouble(message: str) -> Trouble | None:
    """Return what the message of a client of S3 means; None where it is not of S3."""
    for pattern, known in _KNOWN:
        if re.search(pattern, message):
            # Code and operation, by which it is found in the log of the server.
            code = f" ({of[1]} at {of[2]})" if (of := _CODE.search(message)) else ""
            return Trouble(f"{known.cause}{code}", known.remedy)
    return None


def explained(error: BaseException) -> Trouble | None:
    """Return what an error means; None where it is not of S3.

    s3fs raises an OSError, whose cause is S3's.
    """
    return trouble(f"{error} {error.__cause__}")


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of the clients of S3, which are imported only after a failure."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return OSError, BotoCoreError, ClientError, Boto3Error
