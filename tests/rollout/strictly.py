"""Whether a manifest is what its CRD says, unknown fields refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import yaml


def schema(crds: Path, kind: str) -> Any:
    """Return the schema of a kind, as JSON schema, from a directory of CRDs."""
    for file in sorted(crds.iterdir()):
        for found in yaml.load_all(file.read_bytes(), Loader=yaml.CSafeLoader):
            if found and found["spec"]["names"]["kind"] == kind:
                version = found["spec"]["versions"][0]
                return _closed(version["schema"]["openAPIV3Schema"])
    raise LookupError(kind)


def problems(schema: Any, manifest: Any) -> list[str]:
    """Return what is wrong with a manifest."""
    found = jsonschema.Draft7Validator(schema).iter_errors(manifest)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in found]


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no fields but those that it names."""
    closed = deepcopy(schema)
    waiting = [closed]
    while waiting:
        now = waiting.pop()
        is_open = now.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in now
        if now.get("properties") and not is_open:
            now["additionalProperties"] = False
        waiting.extend(now.get("properties", {}).values())
        parts = (now.get("items"), now.get("additionalProperties"))
        waiting.extend(part for part in parts if isinstance(part, dict))
    return closed
