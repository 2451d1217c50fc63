"""Stored data: the DVC remote, and the buckets that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.variables import unshared

_BUCKETS = ("dvc_remote_url", "mlflow_artifacts", "records", "bundle_store")
_SECONDS = 5
_CREDENTIALS = "read -rs AWS_SECRET_ACCESS_KEY && export AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID=ID"
_ENDPOINT = "export AWS_ENDPOINT_URL=https://S3.company.example"


def data(settings: Settings, directory: Path, *, for_pods: bool = False) -> Sequence[Finding]:
    """Check that the DVC remote has the data of the clone's commit, a line for each file.

    ``for_pods`` says whether it must be a remote that pods reach.
    """
    root = git.inspect_root(directory)
    pointers = [
        path
        for path in git.git("ls-files", "--", "*.dvc", cwd=root).splitlines()
        if not path.startswith(f"{git.RELEASES}/") and (root / path).is_file()
    ]
    if not pointers:
        told = "no .dvc file is committed"
        return [missing("data", told, "dvc add DATA && git add DATA.dvc")]
    remote = _remote(settings, root, for_pods=for_pods)
    if isinstance(remote, Finding):
        return [remote]
    return [_file(settings, root, pointer, *remote) for pointer in pointers]


def buckets(settings: Settings) -> Mapping[str, list[str]]:
    """Return the buckets of the settings, each with the variables that name it."""
    found: dict[str, list[str]] = {}
    for field in _BUCKETS:
        address = urlsplit(getattr(settings, field))
        if address.scheme == "s3":
            found.setdefault(address.netloc, []).append(f"ROADWORTHY_{field.upper()}")
    return found


def bucket(name: str, variables: Sequence[str], endpoint: str | None = None) -> Finding:
    """Check that a bucket, named by these variables, exists and can be listed."""
    line = f"bucket {name}"
    problem = _problem(lambda s3: s3.list_objects_v2(Bucket=name, MaxKeys=1), name, endpoint)
    return missing(line, *problem) if problem else ok(line, f"listed, for {', '.join(variables)}")


def bundle_store(settings: Settings) -> Finding:
    """Check that bundles can be stored where the cluster fetches them.

    On S3 an upload is begun and aborted, which shows nothing to anybody.
    """
    name, address = "bundle store", urlsplit(settings.bundle_store)
    if address.scheme != "s3":
        return unshared(name, "bundle_store", settings.bundle_store)
    place = {"Bucket": address.netloc, "Key": f"{address.path.strip('/')}/.doctor".lstrip("/")}

    def upload(s3: Any) -> None:
        begun = s3.create_multipart_upload(**place)
        s3.abort_multipart_upload(**place, UploadId=begun["UploadId"])

    problem = _problem(upload, address.netloc)
    return missing(name, *problem) if problem else ok(name, f"{settings.bundle_store}, writable")


def _remote(settings: Settings, root: Path, *, for_pods: bool) -> Finding | tuple[Any, str]:
    """Return the file system of the remote, as DVC opens it, and the path in it; or a problem.

    No DVC repository is opened, since that would write to the clone.
    """
    from dvc.config import Config, ConfigError
    from dvc.fs import get_cloud_fs

    line, name, url = "DVC remote", settings.dvc_remote, settings.dvc_remote_url
    if not (root / ".dvc").is_dir():
        return missing(line, f"{root} has no .dvc directory", "dvc init")
    chosen = {"remote": {name: {"url": url}}} if url else {}
    try:
        kind, options, path = get_cloud_fs(Config(str(root / ".dvc"), config=chosen), name=name)
    except ConfigError as error:
        return missing(line, f"{name}: {error}", f"dvc remote add {name} URL")
    if kind.protocol == "local":
        if for_pods:
            return unshared(line, "dvc_remote_url", f"{name}, which is {path},")
        if not Path(path).is_dir():
            return missing(line, f"{name}: {path} is not there", "dvc push")
    if kind.protocol == "s3":
        # First, because DVC would try again and again.
        found = bucket(path.partition("/")[0], ["the DVC remote"], options.get("endpointurl"))
        if found.state != "ok":
            return found
    return kind(**options), path


def _file(settings: Settings, root: Path, pointer: str, files: Any, path: str) -> Finding:
    name = pointer.removesuffix(".dvc")
    try:
        content = dvc.content_hash(root / pointer)
    except dvc.DvcError as error:
        return missing(name, str(error), f"dvc add {name}")
    if differs := dvc.difference(root, pointer):
        return warning(name, f"{differs.told}, so runs do not see it", differs.remedy)
    if files.exists(files.join(path, "files", "md5", content[:2], content[2:])):
        return ok(name, f"in the DVC remote {settings.dvc_remote} ({content[:12]})")
    told = f"the DVC remote {settings.dvc_remote} does not have {content}"
    return missing(name, told, f"dvc push --remote {settings.dvc_remote} {pointer}")


def _problem(
    ask: Callable[[Any], object], bucket: str, endpoint: str | None = None
) -> tuple[str, str] | None:
    """Return what is wrong and the command that fixes it, or None."""
    import boto3
    from botocore import exceptions
    from botocore.config import Config

    config = Config(
        connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1}
    )
    try:
        # A session of its own: the shared one is not for threads.
        ask(boto3.session.Session().client("s3", config=config, endpoint_url=endpoint))
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        return "there are no credentials", _CREDENTIALS
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NoSuchBucket"):
            return f"there is no bucket {bucket}", f"aws s3api create-bucket --bucket {bucket}"
        if code in ("403", "AccessDenied", "Forbidden"):
            return f"S3 refuses it ({code})", _CREDENTIALS
        return f"S3 failed ({code})", f"aws s3api head-bucket --bucket {bucket}"
    except exceptions.BotoCoreError as error:
        return f"S3 does not respond ({next(iter(str(error).splitlines()), '')})", _ENDPOINT
    return None
