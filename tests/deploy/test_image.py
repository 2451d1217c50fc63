"""The images hold what they must and no more, and the server runs in one without any right."""

import json
import os
import subprocess
import time

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from roadworthy.rollout.engine.verification import verify
from tests.parts.docker import AUTHOR

pytestmark = pytest.mark.slow

MEGABYTE = 10**6
REGISTRY = "registry.example/cars"
PATIENCE_SECONDS = 120
ABSENT = """
import importlib.util, json, shutil, sys
modules, programs = json.loads(sys.argv[1])
found = [name for name in modules if importlib.util.find_spec(name)]
print(json.dumps(found + [name for name in programs if shutil.which(name)]))
"""
WRITABLE = """
import json, os
found = [
    os.path.join(place, name)
    for place, directories, files in os.walk("/opt")
    for name in directories + files
    if os.access(os.path.join(place, name), os.W_OK)
    and not os.path.islink(os.path.join(place, name))
]
print(json.dumps(found))
"""


@pytest.fixture(params=["pipeline", "serving"])
def image(request, docker):
    return getattr(docker, request.param)


@pytest.fixture(scope="module")
def server(docker, packed):
    """The serving image with a bundle and without any right."""
    with docker.started(
        docker.serving,
        *("--bundle", "/mnt/models", "--version", "3", "--host", "0.0.0.0", "--grpc-port", "9000"),
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        user="65532",
        volumes={str(packed.path): {"bind": "/mnt/models", "mode": "ro"}},
        ports={"8080/tcp": ("127.0.0.1", None), "9000/tcp": ("127.0.0.1", None)},
        # The image's own check, looked at more often.
        healthcheck={"interval": 10**9},
    ) as container:
        yield container


@pytest.fixture
def clone(docker, tmp_path):
    """A clone of the commit that the images are of."""
    bare, target = tmp_path / "remote.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", bare)
    docker.push_commit(bare)
    git(tmp_path, "clone", "--quiet", "--branch=images", bare, target)
    return target


@pytest.fixture
def make_images(docker, clone):
    """Make the images of the clone's commit, and return their ids by name; they go in the end."""
    made = {}

    def make(registry=""):
        command = ["make", "image", *([f"REGISTRY={registry}"] if registry else [])]
        # A make that is started by another one's target says which directory it enters.
        alone = {name: value for name, value in os.environ.items() if name[:4] != "MAKE"}
        with docker.building():
            done = subprocess.run(
                command, cwd=clone, env=alone, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stderr
        made.update(line.split()[:2] for line in done.stdout.splitlines())
        assert len(made) == 2
        return made

    yield make
    for name in made:
        docker.client.images.remove(name)


def git(directory, *arguments) -> str:
    command = ["git", *arguments]
    environment = {**os.environ, **AUTHOR}
    return subprocess.check_output(command, cwd=directory, env=environment, text=True).strip()


def address(container, port: int) -> str:
    container.reload()
    return f"127.0.0.1:{container.ports[f'{port}/tcp'][0]['HostPort']}"


def ready(container) -> str:
    """Wait until a server answers, and return its address."""
    url = f"http://{address(container, 8080)}"
    wait_until(lambda: answers(f"{url}/v2/health/ready"), container)
    return url


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def wait_until(condition, container) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        container.reload()
        assert container.status == "running", container.logs().decode()
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.05)


def test_an_image_says_what_it_was_made_of(docker, image):
    labels = docker.client.images.get(image).labels

    assert labels["org.opencontainers.image.revision"] == docker.commit
    assert labels["org.opencontainers.image.title"] == image.partition(":")[0]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_make_names_the_same_images_with_a_registry_before(docker, make_images):
    made = make_images(REGISTRY)

    for name in (docker.pipeline, docker.serving):
        assert made[f"{REGISTRY}/{name}"] == docker.client.images.get(name).id


def test_a_changed_line_of_the_code_is_one_small_layer(docker, clone, make_images):
    # given a commit that differs in one line
    with (clone / "src" / "roadworthy" / "__init__.py").open("a") as file:
        file.write("# one line more\n")
    git(clone, "commit", "--quiet", "--all", "--message=A line")
    commit = git(clone, "rev-parse", "HEAD")

    # when its images are made
    make_images()

    # then each differs in its last layer alone
    for name in (docker.pipeline, docker.serving):
        before, after = (
            docker.client.images.get(of) for of in (name, name.replace(docker.commit, commit))
        )
        (*shared, old), (*same, new) = (of.attrs["RootFS"]["Layers"] for of in (before, after))
        assert same == shared
        assert len(shared) >= 3  # the base, its directory and the packages
        assert new != old
        last = next(step for step in after.history() if step["Size"])
        assert "/opt/roadworthy" in last["CreatedBy"]
        assert last["Size"] <= 5 * MEGABYTE


def test_an_image_has_a_user_without_rights_and_starts_no_shell(docker, image):
    config = docker.client.images.get(image).attrs["Config"]

    assert config["User"] == "65532:65532"
    assert [*(config["Entrypoint"] or []), *config["Cmd"]][:2] == ["python", "-m"]
    told = docker.output(image, "python", "-c", WRITABLE, read_only=False)
    assert json.loads(told) == []


def test_no_layer_tells_who_built_it(docker, image):
    kept = docker.client.images.get(image)
    told = json.dumps([kept.attrs["Config"], kept.history()])

    assert "/run/secrets" not in told
    assert "INDEX" not in told
    assert "proxy" not in told.lower()


def test_a_step_finds_git_dvc_and_its_own_code(docker):
    told = docker.output(docker.pipeline, "roadworthy", "--help")
    assert "Takes a model from its data to production" in told
    assert docker.output(docker.pipeline, "git", "--version").startswith("git version")
    assert docker.output(docker.pipeline, "python", "-m", "dvc", "--version")


def test_the_server_brings_no_training_no_data_tools_and_no_compiler(docker):
    modules = ["sklearn", "dvc", "mlflow", "pandas", "matplotlib", "kubernetes", "grpc_tools"]
    programs = ["gcc", "cc", "g++", "clang", "rustc", "make", "uv", "curl", "git"]
    unwanted = json.dumps([modules, programs])

    found = json.loads(docker.output(docker.serving, "python", "-c", ABSENT, unwanted))

    assert found == []


def test_the_server_adds_little_to_its_base(docker):
    assert docker.added(docker.serving) <= 450 * MEGABYTE


def test_a_server_without_any_right_answers_as_at_training_time(server, packed):
    # given a server of which nothing can be written, with no capability and no name
    url = ready(server)
    # when it is asked over HTTP
    verified = verify(url, "fuel", 3, packed.golden)
    # then it answers what training computed
    assert verified.good, verified.problem
    assert verified.requests == len(packed.golden.requests)
    # and over gRPC
    with grpc.insecure_channel(address(server, 9000)) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ModelReady(pb.ModelReadyRequest(name="fuel"), timeout=20).ready


def test_the_image_knows_whether_it_is_well(docker, server):
    def health() -> str:
        server.reload()
        return server.attrs["State"]["Health"]["Status"]

    wait_until(lambda: health() == "healthy", server)
    # and it is not well where nobody is deployed
    with docker.started(
        docker.serving,
        *("--routing", "/tmp"),
        read_only=True,
        healthcheck={"interval": 10**8, "retries": 1, "start_period": 10**6},
    ) as empty:
        wait_until(lambda: unwell(empty), empty)


def unwell(container) -> bool:
    container.reload()
    return container.attrs["State"]["Health"]["Status"] == "unhealthy"


def test_a_server_told_to_stop_ends_by_itself(docker, packed):
    with docker.started(
        docker.serving,
        *("--bundle", "/mnt/models", "--version", "3", "--host", "0.0.0.0"),
        read_only=True,
        volumes={str(packed.path): {"bind": "/mnt/models", "mode": "ro"}},
        ports={"8080/tcp": ("127.0.0.1", None)},
    ) as container:
        ready(container)
        container.kill("SIGTERM")
        # Nobody kills it: that would be 137.
        assert container.wait(timeout=PATIENCE_SECONDS)["StatusCode"] == 0
