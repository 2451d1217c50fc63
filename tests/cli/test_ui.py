"""MLflow's page is shown on the store that runs write to."""

import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from typer.testing import CliRunner

from roadworthy.cli import main
from roadworthy.tracking.registry import Registry
from tests.candidate import CANDIDATE


def test_before_the_first_run_there_is_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    done = CliRunner().invoke(main.app, ["ui"])
    assert "There is nothing to show yet" in str(done.exception)
    assert not (tmp_path / "mlflow").exists()


def test_the_page_of_an_mlflow_server_is_its_own(monkeypatch):
    monkeypatch.setenv("ROADWORTHY_MLFLOW_TRACKING_URI", "http://mlflow.example")
    done = CliRunner().invoke(main.app, ["ui", "--no-open"])
    assert done.stdout == "MLflow: http://mlflow.example\n"


@pytest.mark.slow
def test_the_page_shows_the_runs_of_the_home_and_ends_with_the_command(settings):
    # given a home with a run, and somebody who listens at MLflow's usual port
    Registry.of(settings).log_candidate("fuel", **CANDIDATE)
    environment = {**os.environ, "ROADWORTHY_HOME": str(settings.home)}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        command = [sys.executable, "-m", "roadworthy", "ui", "--no-open"]
        refused = subprocess.run(
            [*command, "--port", taken],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 1
    assert f"Port {taken} of 127.0.0.1 is in use by another program" in refused.stderr
    # when the page is shown
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        url = re.fullmatch(r"MLflow: (\S+)\n", process.stdout.readline())[1]
        found = httpx.get(f"{url}/api/2.0/mlflow/experiments/search?max_results=9").json()
        assert "fuel" in {experiment["name"] for experiment in found["experiments"]}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    # then nothing of it is left
    assert process.returncode == 130
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
