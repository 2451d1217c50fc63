"""Settings and secrets that a cluster mounts as files: each becomes the variable of its name."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNT = "/etc/roadworthy"
"""The directory in a pod with one directory for each ConfigMap and Secret."""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def export(root: Path = Path(MOUNT)) -> None:
    """Set the variable of each mounted file; a variable of the process keeps its value."""
    # Kubernetes' own entries beside the files start with two dots.
    for file in root.glob("*/*"):
        if _VARIABLE.fullmatch(file.name) and file.is_file():
            os.environ.setdefault(file.name, file.read_text().removesuffix("\n"))
