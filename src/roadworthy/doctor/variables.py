"""Settings of the steps: known, of their types, complete, and reachable from pods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from roadworthy.core.settings import Settings
from roadworthy.doctor.finding import Finding, missing, names_secret
from roadworthy.engines.kubeflow.settings import KubeflowSettings
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

SHARED: Mapping[str, str] = {
    "git_remote": "export ROADWORTHY_GIT_REMOTE=https://HOST/PROJECT.git",
    "dvc_remote_url": "export ROADWORTHY_DVC_REMOTE=s3 ROADWORTHY_DVC_REMOTE_URL=s3://BUCKET/dvc",
    "mlflow_tracking_uri": "export ROADWORTHY_MLFLOW_TRACKING_URI=https://MLFLOW.company.example",
    "records": "export ROADWORTHY_RECORDS=s3://BUCKET/records",
    "bundle_store": "export ROADWORTHY_BUNDLE_STORE=s3://BUCKET/bundles",
}
"""The settings by which pods share what they work on, each with the command that changes it."""
NEEDED = (
    *(f"ROADWORTHY_{field.upper()}" for field in SHARED),
    *("ROADWORTHY_DVC_REMOTE", "ROADWORTHY_TARGET", "ROADWORTHY_HOME"),
)
"""The variables without which a step would write to its pod's own disk, which is deleted."""

_OURS = "ROADWORTHY_"
_SECONDS = 5
"""The time-out of a Git server."""
_KINDS: tuple[type[BaseSettings], ...] = (KServeSettings, KubeflowSettings, Settings)
_ON_A_DISK = re.compile(r"(file|local|sqlite)(\+\w+)?:")
_ADDRESS = re.compile(r"\w[\w+.-]*://|[^/:]+:")  # Git knows HOST:PATH too


def is_shared(value: str) -> bool:
    """Return whether pods may reach what a setting names: not if it is a path, or SQLite's."""
    return bool(_ADDRESS.match(value)) and not _ON_A_DISK.match(value)


def unshared(name: str, field: str, value: str) -> Finding:
    """Return that no pod reaches the value of a setting of :data:`SHARED`."""
    return missing(name, f"{value} is on this machine, where no pod reaches it", SHARED[field])


def takes_token(remote: str) -> bool:
    """Return whether a Git remote requires a token of who pushes; also if it does not respond.

    A directory and SSH take none, and neither does a server that announces branches to anybody who
    is about to push.
    """
    if not remote.startswith(("http://", "https://")):
        return False
    announced = f"{remote.rstrip('/')}/info/refs?service=git-receive-pack"
    try:
        return not httpx.get(announced, timeout=_SECONDS, follow_redirects=True).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return True


def wrong(told: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the variables of the steps, without their values."""
    lacking = [f"{key} is not set" for key in NEEDED if not told.get(key)]
    return [
        *lacking,
        *(f"{key} {words}" for key in sorted(told) if (words := _odd(key, told[key]))),
    ]


def _odd(key: str, value: str) -> str:
    if names_secret(key):
        return "is a secret, and this ConfigMap can be read by others"
    if not key.startswith(_OURS):  # of boto3, MLflow, Git and the like
        return ""
    if key.removeprefix(_OURS).lower() in SHARED and value and not is_shared(value):
        return "is on a disk, which no other pod reaches"
    for kind in _KINDS:
        prefix = str(kind.model_config.get("env_prefix", ""))
        info = kind.model_fields.get(key.removeprefix(prefix).lower())
        if key.startswith(prefix) and info is not None:
            return _invalid(info, value)
    return "is no setting"


def _invalid(info: FieldInfo, value: str) -> str:
    # A path is one of the pod's own: it cannot be looked for from here.
    if value and "Path" not in str(info.annotation):
        try:
            constrained: Any = Annotated[info.annotation, info]
            TypeAdapter(constrained).validate_python(value)
        except ValidationError as error:
            return f"is invalid: {error.errors()[0]['msg']}"
    return ""
