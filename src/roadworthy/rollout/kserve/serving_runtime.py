"""The ServingRuntimes that serve versions: copies of the one that ``deploy/`` applies.

KServe makes the pods of every version anew when its ServingRuntime changes, at once and unverified.
So a version that is deployed gets a copy of the ServingRuntime as it is then, which never
changes, as its name tells its content. Another serving image comes with the next version: it is
verified and gets its weight with it, and goes with it if that is rolled back.

Pure: nothing here asks a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

API_VERSION = "serving.kserve.io/v1alpha1"
_DIGITS = 12

Json = dict[str, Any]


def copied(template: Mapping[str, Any]) -> Json:
    """Return the copy of a ServingRuntime, as it is applied.

    No InferenceService gets it that does not name it.
    """
    spec = deepcopy(dict(template["spec"]))
    for one in spec.get("supportedModelFormats") or []:
        # KServe refuses two that it might choose itself, and that have the same priority.
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
            "annotations": {"roadworthy/copy-of": name},
        },
        "spec": spec,
    }
