"""An S3 server, as a process of its own. It takes any key, and keeps nothing when it ends."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

REGION = "us-east-1"
PATIENCE_SECONDS = 60
_NOWHERE = "/nowhere"


@dataclass(frozen=True)
class S3:
    """The server's address, and the credentials that everything in the tests shows it."""

    url: str
    key: str
    secret: str

    def environment(self, url: str = "") -> dict[str, str]:
        """Return the variables of a process that works on it, or on what stands before it."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            # What the machine's owner has of their own is none of the tests' business.
            "AWS_CONFIG_FILE": _NOWHERE,
            "AWS_SHARED_CREDENTIALS_FILE": _NOWHERE,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"roadworthy-{secrets.token_hex(4)}"
        self._client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of the objects in a bucket."""
        pages = self._client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in found for item in page.get("Contents", [])]

    def read(self, bucket: str, key: str) -> bytes:
        """Return the content of an object."""
        return self._client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object."""
        self._client().put_object(Bucket=bucket, Key=key, Body=content)

    def _client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 2}),
        )


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[S3]:
    """An S3 server without a bucket."""
    log = tmp_path_factory.mktemp("s3") / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"],
            stdout=output,
            stderr=output,
        )
    try:
        url = _greeted(process, log)
        yield S3(url, "AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _greeted(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that the server says it listens at."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the S3 server did not start: " + log.read_text())
