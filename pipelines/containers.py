"""Runs the steps of a compiled pipeline on this machine in containers of the image it names.

What a container has of this machine: the home and the other directories that the settings name, at
the same paths, the network, and the settings. Its own files cannot be changed.
"""

import os
import sys
from pathlib import Path
from typing import Any

import docker
from kfp import local
from kfp.local import docker_task_handler

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
)
"""The variables that a step is given beside those of Roadworthy."""


class ContainerError(RoadworthyError):
    """The steps cannot be run in containers."""


def runner(settings: Settings, root: Path) -> local.DockerRunner:
    """Return the runner of KFP that runs each step in a container.

    The user in it is the owner of the home.

    Parameters
    ----------
    root
        The directory of the steps' artifacts; it is made.

    Raises
    ------
    ContainerError
        No container engine answers.
    """
    _look_for_engine()
    docker_task_handler.run_docker_container = run_container
    settings.make_home()
    owner = settings.home.stat()
    root.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        os.chown(root, owner.st_uid, owner.st_gid)
    return local.DockerRunner(
        cap_drop=["ALL"],
        environment=_environment(settings),
        # The user of the image is another one, which owns nothing of this machine.
        user=f"{owner.st_uid}:{owner.st_gid}",
        mounts=[
            docker.types.Mount(str(place), str(place), type="bind") for place in _places(settings)
        ],
        network_mode="host",
        # The owner of a rollout is a process, which others look for.
        pid_mode="host",
        read_only=True,
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - the container's own
    )


def run_container(
    client: docker.DockerClient, image: str, command: list[str], volumes: Any, **options: Any
) -> int:
    """Run a step to its end in a container, which is then removed, and return its exit status.

    KFP's own function reports success for a container that ended before it was looked at, and
    leaves a running container behind when it is stopped.

    Raises
    ------
    ContainerError
        The image is not there, or the container cannot be started.
    """
    try:
        container = client.containers.create(image, command, volumes=volumes, **options)
    except docker.errors.ImageNotFound as error:
        raise ContainerError(
            f"There is no image {image} here: build it with `make image` at the commit that the "
            f"pipeline was compiled for."
        ) from error
    try:
        container.start()
        for piece in container.logs(stream=True, follow=True):
            sys.stdout.write(piece.decode(errors="replace"))
        return int(container.wait()["StatusCode"])
    except docker.errors.APIError as error:
        raise ContainerError(
            f"A container of {image} cannot be run: {error.explanation}. Fix that and run again."
        ) from error
    finally:
        container.remove(force=True)


def _look_for_engine() -> None:
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        raise ContainerError(
            f"No container engine answers at {os.environ.get('DOCKER_HOST', 'its usual socket')}: "
            f"start one, or name it in DOCKER_HOST."
        ) from error


def _environment(settings: Settings) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("ROADWORTHY_") or name in CREDENTIALS
    }
    return kept | settings.environment()


def _places(settings: Settings) -> list[Path]:
    """Return the home, and the directories that the settings name outside of it."""
    named = (
        settings.git_remote,
        settings.dvc_remote_url,
        settings.bundle_store,
        settings.records,
        settings.mlflow_artifacts,
    )
    elsewhere = {
        Path(place)
        for place in named
        if Path(place).is_absolute()
        and Path(place).is_dir()
        and not Path(place).is_relative_to(settings.home)
    }
    return [settings.home, *sorted(elsewhere)]
