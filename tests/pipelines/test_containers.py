"""A step in a container ends as its process does, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines import compiler, containers
from roadworthy.core.settings import Settings

ROOT = Path(__file__).parents[2]
ENGINE = [sys.executable, "-m", "pipelines.local", "--docker"]
MISSING = "roadworthy/pipeline:" + "f" * 40
LABEL = {"roadworthy.test": "containers"}

PATIENCE_SECONDS = 120


def left(docker) -> list:
    """The containers of these tests that are there still."""
    return docker.client.containers.list(all=True, filters={"label": "roadworthy.test=containers"})


def shell(docker, line: str, **options) -> int:
    command = ["sh", "-c", line]
    return containers.run_container(
        docker.client, docker.pipeline, command, volumes={}, labels=LABEL, **options
    )


@pytest.mark.parametrize("status", [0, 3])
def test_what_ends_at_once_is_told_as_it_is(docker, status, capsys):
    assert shell(docker, f"echo said; exit {status}") == status

    assert capsys.readouterr().out == "said\n"
    assert left(docker) == []


def test_an_image_that_is_not_there_is_a_sentence_with_the_remedy(docker):
    with pytest.raises(containers.ContainerError, match=r"no image .*make image"):
        containers.run_container(docker.client, MISSING, ["true"], volumes={})


def test_what_cannot_be_started_is_a_sentence_and_leaves_nothing(docker):
    with pytest.raises(containers.ContainerError, match=r"cannot be run: .*Fix that"):
        containers.run_container(
            docker.client, docker.pipeline, ["no-such-program"], volumes={}, labels=LABEL
        )

    assert left(docker) == []


def test_a_step_that_is_stopped_takes_its_container_along(docker, tmp_path):
    # given a program that runs a step which would never end, as the engine does
    program = f"""
        import signal, sys
        import docker
        from pipelines.containers import run_container

        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        command = ["sh", "-c", "echo begun; sleep 3600"]
        run_container(docker.from_env(), {docker.pipeline!r}, command, {{}}, labels={LABEL!r})
    """
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"begun\n"
        assert len(left(docker)) == 1
        # when it is told to stop
        process.send_signal(signal.SIGTERM)
        # then it ends, and the container is gone
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert left(docker) == []
    finally:
        process.kill()
        process.wait()


def run_engine(tmp_path: Path, package: Path, **variables: str) -> tuple[int, list[str]]:
    """Run a pipeline in containers; give the status it ends with and its last words."""
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*ENGINE, package, tmp_path / "artifacts", "{}"],
            cwd=ROOT,
            env={**os.environ, "ROADWORTHY_HOME": str(tmp_path / "home"), **variables},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with process:
        status = process.wait(PATIENCE_SECONDS)
    return status, (tmp_path / "log.txt").read_text().splitlines()


def test_a_pipeline_whose_image_is_not_there_fails_with_the_remedy(docker, tmp_path):
    (tmp_path / "fuel.yaml").write_text(compiler.compiled("fuel", MISSING))

    status, told = run_engine(tmp_path, tmp_path / "fuel.yaml")

    assert status == 1
    assert told[-1].startswith(f"There is no image {MISSING} here: build it with `make image`")


def test_without_an_engine_the_remedy_is_told(tmp_path):
    nowhere = f"unix://{tmp_path}/nowhere.sock"

    status, told = run_engine(tmp_path, ROOT / "pipelines" / "fuel.yaml", DOCKER_HOST=nowhere)

    assert status == 1
    assert told == [
        f"No container engine answers at {nowhere}: start one, or name it in DOCKER_HOST."
    ]


def test_a_container_is_given_the_settings_the_places_and_nothing_else(
    docker, tmp_path, monkeypatch
):
    # given settings with a remote outside of the home, and a secret of the machine's owner
    (tmp_path / "remote.git").mkdir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("ROADWORTHY_KSERVE_NAMESPACE", "here")
    monkeypatch.setenv("MY_SECRET", "not-yours")
    settings = Settings(home=tmp_path / "home", git_remote=str(tmp_path / "remote.git"))

    options = containers.runner(settings, tmp_path / "artifacts").container_run_args

    assert options["environment"]["ROADWORTHY_HOME"] == str(tmp_path / "home")
    assert options["environment"]["ROADWORTHY_KSERVE_NAMESPACE"] == "here"
    assert options["environment"]["AWS_ACCESS_KEY_ID"] == "a-key"
    assert "MY_SECRET" not in options["environment"]
    assert [(mount["Source"], mount["Target"]) for mount in options["mounts"]] == [
        (str(tmp_path / "home"), str(tmp_path / "home")),
        (str(tmp_path / "remote.git"), str(tmp_path / "remote.git")),
    ]
    assert options["read_only"]
    assert options["cap_drop"] == ["ALL"]
