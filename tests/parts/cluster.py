"""A cluster that runs pods, of which the tests may use a namespace of their own.

``KUBECONFIG`` names it, ``ROADWORTHY_TEST_CLUSTER=1`` says that tests may use it, and
``ROADWORTHY_TEST_IMAGES`` is the command that loads what ``docker save`` writes into its nodes,
e.g. ``kind load image-archive /dev/stdin``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

# Whatever else a test starts must not find a cluster by accident. The environment of this process
# is that of the processes which run the tests.
if "ROADWORTHY_TEST_CLUSTER" in os.environ and "KUBECONFIG" in os.environ:
    os.environ["ROADWORTHY_TEST_KUBECONFIG"] = os.environ.pop("KUBECONFIG")


@dataclass(frozen=True)
class Cluster:
    """A cluster, and what a test does with it.

    Parameters
    ----------
    environment
        ``KUBECONFIG``, a copy that a test may change, and a ``PATH`` with kubectl.
    loading
        The command that loads an archive of images.
    """

    environment: dict[str, str]
    loading: list[str]

    def load(self, *images: str) -> None:
        """Load images of the container engine into the nodes."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            subprocess.run(self.loading, stdin=saving.stdout, check=True, capture_output=True)
        assert saving.returncode == 0

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl and return what it prints."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"kubectl {shlex.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Return an object, or a list of them."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))


@pytest.fixture(scope="session")
def cluster(requires: Any, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster that the environment names."""
    requires.variable("ROADWORTHY_TEST_CLUSTER", "set it to 1 if KUBECONFIG's may be used")
    loading = requires.variable("ROADWORTHY_TEST_IMAGES", "name what loads an archive of images")
    own = tmp_path_factory.mktemp("cluster") / "config"
    shutil.copy(os.environ["ROADWORTHY_TEST_KUBECONFIG"], own)
    path = os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"]])
    return Cluster({**os.environ, "KUBECONFIG": str(own), "PATH": path}, shlex.split(loading))
