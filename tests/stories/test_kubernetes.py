"""A user deploys a model on plain Kubernetes, block by block of the page, under constant load."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import typed
from tests.parts.cluster import Cluster

from .conftest import Workplace, wait_until
from .terminal import Terminal

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(1200)]

OLDER = "autoscaling/v2beta2"
"""What a cluster before 1.23 calls ``autoscaling/v2``."""


class Course(Terminal):
    """A terminal in which the page is typed, and what the client in the cluster counts."""

    def __init__(self, place: Workplace, cluster: Cluster) -> None:
        super().__init__(place)
        self.cluster = cluster
        place.environment |= cluster.environment

    def lost(self) -> int:
        """Return how many requests the clients lost until now."""
        return sum(int(lost) for lost in re.findall(r"lost (\d+)", self.counted()))

    def versions(self) -> dict[str, int]:
        """Return how many answers the client got of each version, in the next two seconds."""
        before = self._by_version()
        time.sleep(2)
        after = self._by_version()
        return {name: new for name in after if (new := after[name] - before.get(name, 0))}

    def counted(self) -> str:
        selected = ("--selector=app=client", "--namespace=models")
        return self.cluster.kubectl("logs", *selected, "--tail=1")

    def _by_version(self) -> dict[str, int]:
        wait_until(lambda: "by version" in self.counted())
        return json.loads(self.counted().partition("by version ")[2].replace("'", '"'))

    def pods(self) -> set[str]:
        """Return the names of the model's pods that do not end."""
        found = self.cluster.get("pods", "--namespace=models", "--selector=app=model")["items"]
        return {
            pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]
        }

    def replicas(self) -> int:
        deployment = self.cluster.get("deployment", "model", "--namespace=models")
        return int(deployment["spec"]["replicas"])


@pytest.fixture
def course(cluster: Cluster, docker, released: Workplace) -> Iterator[Course]:
    """A clone with two versions, whose commit has the images of the work tree."""
    made = Course(released, cluster)
    second = typed("docs/tutorial.md", str(Path(__file__).with_name("test_tutorial.py")))[4]
    made.type(
        ".venv/bin/dvc pull --quiet data.csv.dvc\n" + second.replace("rollout status", "models")
    )
    commit = released.git("rev-parse", "HEAD")
    docker.client.images.get(docker.serving).tag("roadworthy/serving", commit)
    yield made
    cluster.kubectl("delete", "namespace", "models", "--ignore-not-found", "--wait=false")
    for image in (f"roadworthy/serving:{commit}", "model:1", "model:2"):
        docker.client.images.remove(image, force=True)


def test_the_page_is_typed_and_only_recreate_loses_a_request(course: Course) -> None:
    build, namespace, *blocks = typed("docs/how-to/kubernetes.md", __file__)
    pod, deployment, ask, client, failed, scale, rolling, *blocks = blocks
    recreate, base, green, blue, canary, promote, autoscale, clean = blocks
    cluster = course.cluster

    # given an image of each version, which differ by their last layer
    assert "fuel:2, bundle" in course.type(build)
    cluster.load("model:1", "model:2")
    course.type(namespace)

    # when a bare pod is deleted, then nobody makes it again
    told = course.type(pod)
    assert "version 1" in told
    assert "No resources found" in told
    # when a pod of a Deployment is deleted, then another one is made
    course.type(deployment)
    assert len(course.pods()) == 2
    assert '"versions":["1"]' in course.type(ask)
    assert "lost 0" in course.type(client)

    # when a version cannot start, then the Deployment has failed, and the one before answers on
    told = course.type(failed)
    assert "exceeded its progress deadline" in told
    assert "Progressing=False ProgressDeadlineExceeded" in told
    assert set(course.versions()) == {"1"}
    # when it is scaled by hand and by the manifest, then the manifest is the last
    course.type(scale)
    wait_until(lambda: len(course.pods()) == 2)
    # when it is updated, paused in the middle, resumed and undone, then both versions answered
    course.type(rolling)
    assert set(course._by_version()) == {"1", "2"}
    assert set(course.versions()) == {"1"}
    # and in all of that no request was lost
    assert course.lost() == 0

    # when all pods are replaced at once, then some are
    course.type(recreate)
    wait_until(lambda: course.lost() > 0)
    course.type(base)
    lost = course.lost()

    # when the Service chooses the green Deployment, then version 2 answers, and back again
    course.type(green)
    wait_until(lambda: set(course.versions()) == {"2"})
    course.type(blue)
    wait_until(lambda: set(course.versions()) == {"1"})
    # when one of three pods is a canary, then it gets its part
    course.type(canary)
    wait_until(lambda: set(course.versions()) == {"1", "2"})
    course.type(promote)
    wait_until(lambda: set(course.versions()) == {"2"})
    assert course.lost() == lost

    # when the load grows, then the autoscaler adds pods
    manifest = course.place.path / "deploy" / "kubernetes" / "autoscaler.yaml"
    if "autoscaling/v2\n" not in cluster.kubectl("api-versions"):
        manifest.write_text(manifest.read_text().replace("autoscaling/v2", OLDER))
    course.type(autoscale)
    wait_until(lambda: course.replicas() == 3)
    # and a load that goes up and down changes nothing
    seen = set()
    for clients in (1, 4, 1):
        scaled = ("scale", "deployment/client", "--namespace=models", f"--replicas={clients}")
        cluster.kubectl(*scaled)
        seen |= {course.replicas() for _ in range(20) if not time.sleep(1)}
    assert seen == {3}
    assert course.lost() == lost
    course.type(clean)
