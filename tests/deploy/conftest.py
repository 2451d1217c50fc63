"""The manifests as each cluster gets them, and a real API server that has what they lean on."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.kube import Kube

NAMESPACE = "roadworthy"
KUBEFLOW = "kubeflow"
SINGLE_USER = ("kind", "production for a single user")
"""The builds for a Kubeflow that runs the steps in its own namespace."""
MONITORING = Path(__file__).with_name("monitoring.yaml")
BUILDS = {
    "base": ["base"],
    "kind": ["overlays/kind"],
    "staging": ["overlays/staging"],
    "production": ["overlays/production"],
    "production on Knative": ["overlays/production", "components/knative"],
    "production for a single user": ["overlays/production", "components/kfp-single-user"],
}
"""What is built, of which directories of deploy/: the second one is a component."""

Documents = list[dict[str, Any]]
Build = Callable[[str], Documents]


@pytest.fixture(scope="session")
def build(requires: Any, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return what kubectl builds, by a name of BUILDS; each is built once."""
    assets = requires.variable(
        "KUBEBUILDER_ASSETS", "setup-envtest use -p path prints the directory"
    )
    built: dict[str, Documents] = {}

    def documents(name: str) -> Documents:
        if name not in built:
            directory = root / "deploy" / BUILDS[name][0]
            if len(BUILDS[name]) > 1:
                directory = _composed(tmp_path_factory.mktemp("build"), root, BUILDS[name])
            done = subprocess.run(
                [Path(assets, "kubectl"), "kustomize", directory],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "deprecated" not in done.stderr
            built[name] = list(yaml.safe_load_all(done.stdout))
        return built[name]

    return documents


@pytest.fixture(scope="session")
def cluster(kube: Kube) -> Iterator[Kube]:
    """The API server with the namespaces, KServe's settings, and the kinds of monitoring."""
    kube.install(MONITORING)
    for namespace in (NAMESPACE, "kserve", KUBEFLOW):
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield kube
    for namespace in (NAMESPACE, "kserve", KUBEFLOW):
        kube.kubectl("delete", "role,rolebinding", "--all", "--namespace", namespace)


def _composed(directory: Path, root: Path, parts: list[str]) -> Path:
    """Return the directory of a kustomization of an overlay with a component more."""
    overlay, component = (os.path.relpath(root / "deploy" / part, directory) for part in parts)
    written = {"resources": [overlay], "components": [component]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(written))
    return directory
