"""The secrets of a cluster that steps read; each key is a variable of the step."""

from __future__ import annotations

from collections.abc import Mapping

GIT = "roadworthy-git"
MLFLOW = "roadworthy-mlflow"
S3 = "roadworthy-s3"
SERVING = "roadworthy-serving"
SECRETS: Mapping[str, tuple[str, ...]] = {
    GIT: ("ROADWORTHY_GIT_TOKEN",),
    S3: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    MLFLOW: ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    SERVING: ("ROADWORTHY_TOKEN",),
}
"""The secrets and their keys."""
