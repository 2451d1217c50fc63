"""The ServingRuntimes of versions: copies of the one that ``deploy/`` applies.

KServe restarts the pods of all versions at once when their ServingRuntime changes. So each version
gets a copy of the ServingRuntime at that time, named by its content, which never changes. A new
serving image is deployed, verified and rolled back with the next version.

Pure: nothing here asks a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

API_VERSION = "serving.kserve.io/v1alpha1"
COPY_OF = "roadworthy/copy-of"
"""The annotation of a copy with the name of its original."""
APPLIED_AT = "roadworthy/applied-at"
"""The annotation of a copy with the time when a version needed it last."""
_DIGITS = 12

Json = dict[str, Any]


def copied(template: Mapping[str, Any], applied_at: str = "") -> Json:
    """Return the copy of a ServingRuntime, as it is applied at a time in ISO 8601.

    Only InferenceServices that name it use it.
    """
    spec = deepcopy(dict(template["spec"]))
    for one in spec.get("supportedModelFormats") or []:
        # KServe refuses two with automatic selection and the same priority.
        one["autoSelect"] = False
        one.pop("priority", None)
    told = json.dumps(spec, sort_keys=True).encode()
    name = template["metadata"]["name"]
    return {
        "apiVersion": API_VERSION,
        "kind": "ServingRuntime",
        "metadata": {
            "name": f"{name}-{hashlib.sha256(told).hexdigest()[:_DIGITS]}",
            "namespace": template["metadata"]["namespace"],
            "labels": {
                "app.kubernetes.io/part-of": "roadworthy",
                "app.kubernetes.io/managed-by": "roadworthy",
            },
            "annotations": {COPY_OF: name, APPLIED_AT: applied_at},
        },
        "spec": spec,
    }
