"""Whether variables are settings that there are, with values of their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from roadworthy.core.settings import Settings
from roadworthy.doctor.discretion import names_secret
from roadworthy.doctor.reach import REMEDIES, is_shared
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

NEEDED = (
    *("ROADWORTHY_GIT_REMOTE", "ROADWORTHY_DVC_REMOTE", "ROADWORTHY_DVC_REMOTE_URL"),
    *("ROADWORTHY_MLFLOW_TRACKING_URI", "ROADWORTHY_RECORDS", "ROADWORTHY_BUNDLE_STORE"),
    *("ROADWORTHY_TARGET", "ROADWORTHY_HOME"),
)
"""The variables without which a step would write to its pod's own disk, which goes with it."""

_OURS = "ROADWORTHY_"
_EXAMPLE = re.compile(r"\.example(?=[:/]|$)")


def wrong(told: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the variables of the steps: a few words for each.

    No value is told.
    """
    lacking = [f"{key} is not given" for key in NEEDED if not told.get(key)]
    return [*lacking, *(f"{key} {words}" for key in sorted(told) if (words := _odd(key, told)))]


def examples(value: str) -> bool:
    """Return whether a value is the address of an example, which a person has to replace."""
    return bool(_EXAMPLE.search(value))


def _odd(key: str, told: Mapping[str, str]) -> str:
    if names_secret(key):
        return "is a secret, and others read what is here"
    if not key.startswith(_OURS):  # of boto3, MLflow, Git and the like
        return ""
    if key.removeprefix(_OURS).lower() in REMEDIES and told[key] and not is_shared(told[key]):
        return "is on a disk, which no other pod reaches"
    for kind in _kinds():
        prefix = str(kind.model_config.get("env_prefix", ""))
        field = key.removeprefix(prefix).lower()
        if key.startswith(prefix) and field in kind.model_fields:
            return _invalid(kind, field, told[key])
    return "is no setting"


def _kinds() -> tuple[type[BaseSettings], ...]:
    from roadworthy.engines.kubeflow.settings import KubeflowSettings

    return (KServeSettings, KubeflowSettings, Settings)


def _invalid(kind: type[BaseSettings], field: str, value: str) -> str:
    info = kind.model_fields[field]
    # A path is one of the pod's own: it cannot be looked for from here.
    if not value or info.annotation is None or "Path" in str(info.annotation):
        return ""
    try:
        constrained: Any = Annotated[info.annotation, info]
        TypeAdapter(constrained).validate_python(value)
    except ValidationError as error:
        return f"cannot be so: {error.errors()[0]['msg']}"
    return ""
