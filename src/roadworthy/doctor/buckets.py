"""What lies in S3: the buckets that the settings name, asked with the credentials there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from roadworthy.core.settings import Settings
from roadworthy.doctor.finding import Finding, missing, ok

_PLACES = ("dvc_remote_url", "mlflow_artifacts", "records", "bundle_store")
_SECONDS = 5
_CREDENTIALS = "read -rs AWS_SECRET_ACCESS_KEY && export AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID=ID"
_ENDPOINT = "export AWS_ENDPOINT_URL=https://S3.company.example"
_REFUSED, _ABSENT = ("403", "AccessDenied", "Forbidden"), ("404", "NoSuchBucket")


def named(settings: Settings) -> dict[str, list[str]]:
    """Return the buckets of the settings, each with the variables that name it."""
    found: dict[str, list[str]] = {}
    for field in _PLACES:
        address = urlsplit(getattr(settings, field))
        if address.scheme == "s3":
            found.setdefault(address.netloc, []).append(f"ROADWORTHY_{field.upper()}")
    return found


def bucket(name: str, variables: list[str], options: Mapping[str, Any] | None = None) -> Finding:
    """Look whether a bucket answers, and lets one list it.

    Parameters
    ----------
    variables
        What names it.
    options
        What DVC's settings say of it beside its address.
    """
    told = f"for {', '.join(variables)}"
    endpoint = (options or {}).get("endpointurl")
    problem = _problem(lambda s3: s3.list_objects_v2(Bucket=name, MaxKeys=1), name, endpoint)
    line = f"bucket {name}"
    return missing(line, *problem) if problem else ok(line, f"listed, {told}")


def bundle_store(settings: Settings) -> Finding:
    """Look whether bundles can be put where the cluster fetches them, without putting one there.

    On S3 an upload is begun and taken back, which shows nothing to anybody.
    """
    address = urlsplit(settings.bundle_store)
    name = "bundle store"
    if address.scheme != "s3":
        return missing(
            name,
            f"{settings.bundle_store} is no address that a pod can fetch from",
            "export ROADWORTHY_BUNDLE_STORE=s3://BUCKET/bundles",
        )
    key = f"{address.path.strip('/')}/.doctor".lstrip("/")

    def try_out(s3: Any) -> None:
        begun = s3.create_multipart_upload(Bucket=address.netloc, Key=key)
        s3.abort_multipart_upload(Bucket=address.netloc, Key=key, UploadId=begun["UploadId"])

    problem = _problem(try_out, address.netloc)
    return missing(name, *problem) if problem else ok(name, f"{settings.bundle_store}, writable")


def _problem(
    ask: Callable[[Any], object], bucket: str, endpoint: str | None = None
) -> tuple[str, str] | None:
    """Return what is wrong and the command that mends it, or None if nothing is."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    config = Config(
        connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1}
    )
    try:
        # A session of its own: the shared one is not for threads.
        s3 = boto3.session.Session().client("s3", config=config, endpoint_url=endpoint)
        ask(s3)
    except (NoCredentialsError, PartialCredentialsError):
        return "there are no credentials", _CREDENTIALS
    except ClientError as error:
        return _refused(error.response, bucket)
    except BotoCoreError as error:
        return f"S3 does not answer ({_first_line(error)})", _ENDPOINT
    return None


def _refused(response: Any, bucket: str) -> tuple[str, str]:
    code = str(response.get("Error", {}).get("Code", ""))
    status = str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in _ABSENT:
        return f"there is no bucket {bucket}", f"aws s3api create-bucket --bucket {bucket}"
    if code in _REFUSED or status == "403":
        return f"S3 refuses it ({code or status})", _CREDENTIALS
    return f"S3 failed ({code}, HTTP {status})", f"aws s3api head-bucket --bucket {bucket}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
