"""The manifests for plain Kubernetes keep the schemas of a current one."""

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

PLACE = Path("deploy", "kubernetes")


@pytest.mark.parametrize(
    "name",
    [
        *("pod.yaml", "service.yaml", "client.yaml", "autoscaler.yaml"),
        *("base", "recreate", "green", "canary"),
    ],
)
def test_a_current_kubernetes_takes_it(root: Path, requires, name: str) -> None:
    # given a file, or a directory that kubectl builds
    path = root / PLACE / name
    assets = requires.variable("KUBEBUILDER_ASSETS", "setup-envtest use -p path prints it")
    kubectl = [Path(assets, "kubectl"), "kustomize", path]
    text = subprocess.check_output(kubectl, text=True) if path.is_dir() else path.read_text()
    documents = list(yaml.safe_load_all(text))
    # then it has documents, which keep the schemas
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_cloud_build_takes_the_build_and_bash_its_scripts(root: Path) -> None:
    # given the build for Google Cloud
    file = root / "deploy" / "cloudbuild.yaml"
    checker = Path(sys.executable).with_name("check-jsonschema")
    subprocess.run([checker, "--builtin-schema", "vendor.cloudbuild", file], check=True)
    build = yaml.safe_load(file.read_text())
    # then each of its own variables is used, and no other one
    used = set(re.findall(r"(?<!\$)\$\{?(_[A-Z0-9_]+)", file.read_text()))
    assert used == set(build["substitutions"])
    # and bash understands each script, in which Cloud Build writes $$ for $
    scripts = [step["args"][1] for step in build["steps"] if step["args"][0] == "-euc"]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script.replace("$$", "$"), text=True, check=True)
