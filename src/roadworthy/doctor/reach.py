"""Whether pods reach what the settings name: what is on one machine's disk, none does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from roadworthy.core.settings import Settings
from roadworthy.doctor.finding import Finding, missing

REMEDIES: Mapping[str, str] = {
    "git_remote": "export ROADWORTHY_GIT_REMOTE=https://HOST/PROJECT.git",
    "dvc_remote_url": "export ROADWORTHY_DVC_REMOTE=s3 ROADWORTHY_DVC_REMOTE_URL=s3://BUCKET/dvc",
    "mlflow_tracking_uri": "export ROADWORTHY_MLFLOW_TRACKING_URI=https://MLFLOW.company.example",
    "records": "export ROADWORTHY_RECORDS=s3://BUCKET/records",
    "bundle_store": "export ROADWORTHY_BUNDLE_STORE=s3://BUCKET/bundles",
}
"""The settings by which pods share what they work on, and what names another place."""

_OF_A_DISK = re.compile(r"(file|local|sqlite)(\+\w+)?:")
_ADDRESS = re.compile(r"\w[\w+.-]*://|[^/:]+:")  # Git knows HOST:PATH too

Look = Callable[[], Finding | Sequence[Finding]]
"""What a check does."""


def is_shared(value: str) -> bool:
    """Return whether pods may reach what a setting names: no if it is a path, or SQLite's."""
    return bool(_ADDRESS.match(value)) and not _OF_A_DISK.match(value)


def from_pods(name: str, settings: Settings, field: str, look: Look) -> Look:
    """Return a look at what a setting names, which finds it missing where no pod reaches it.

    Parameters
    ----------
    name
        The name of its line.
    field
        One of :data:`REMEDIES`.
    look
        What is found where pods may reach it.
    """
    value = str(getattr(settings, field))
    return look if is_shared(value) else lambda: unshared(name, field, value)


def unshared(name: str, field: str, value: str) -> Finding:
    """Return that no pod reaches what a setting names, and the command that names another place."""
    return missing(name, f"{value} is on this machine, where no pod reaches it", REMEDIES[field])
