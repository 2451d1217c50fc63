"""A step is a process that is forked from the engine, with all that the engine has imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import dsl, local

from pipelines.processes import StepError, run_step, runner


@dsl.component(base_image="python", install_kfp_package=False)
def step(told: str, ended: int) -> str:
    import os
    import sys

    sys.stdout.write(f"{told} {os.environ['STEP']} {'sndhdr' in sys.modules}\n")
    os.environ["STEP"] = "left"
    if ended:
        raise SystemExit(ended)
    return told


def run(tmp_path, ended: int, pending=()) -> int:
    container = step.component_spec.implementation.container
    output = tmp_path / "output.json"
    asked = (
        f'{{"inputs": {{"parameterValues": {{"told": "hello", "ended": {ended}}}}},'
        f' "outputs": {{"parameters": {{"Output": {{"outputFile": "{tmp_path}/told"}}}},'
        f' "outputFile": "{output}"}}}}'
    )
    arguments = ["--executor_input", asked, "--function_to_execute", "step"]
    return run_step([*container.command, *arguments], {"STEP": "of a step"}, iter(pending))


@pytest.mark.parametrize("status", [0, 3])
def test_a_steps_output_and_exit_status_are_its_own(tmp_path, capfd, status):
    assert run(tmp_path, status) == status

    assert "hello of a step" in capfd.readouterr().out
    assert (tmp_path / "output.json").exists() == (status == 0)
    assert "STEP" not in os.environ


def test_what_is_imported_while_a_step_runs_is_there_for_the_next(tmp_path, capfd):
    assert "sndhdr" not in sys.modules

    run(tmp_path, 0, ["a_module_that_is_not_there", "sndhdr"])
    run(tmp_path, 0)

    assert "hello of a step True" in capfd.readouterr().out


def test_another_command_is_refused():
    with pytest.raises(StepError, match="is not the command of a lightweight Python component"):
        run_step(["sh", "-c", "python3 -m pip install kfp", "code"], {}, iter(()))


THREADS = """
import importlib, os
import pipelines.local
from pipelines.processes import IMPORTS

for name in IMPORTS:
    importlib.import_module(name)
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        print(open(f"/proc/self/task/{task}/comm").read().strip())
"""


def test_the_process_that_forks_has_no_threads_but_those_that_a_fork_restarts():
    # given OpenBLAS without its threads, which are named as the process and end at a fork
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    # when all is imported that steps start with
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    # then there is Arrow's allocator alone
    assert set(done.stdout.split()) <= {"jemalloc_bg_thd"}


@dsl.component(base_image="python", install_kfp_package=False)
def measure(file: str, metrics: dsl.Output[dsl.Metrics]):
    with open(file, "a") as log:  # noqa: PTH123 - a component has no other imports
        log.write("measured\n")
    metrics.metadata["r2"] = 0.9


def test_what_a_step_made_is_taken_from_the_cache_though_it_is_metadata_alone(tmp_path):
    @dsl.pipeline
    def pipeline(file: str):
        measure(file=file)

    local.init(
        runner=runner(),
        pipeline_root=str(tmp_path / "artifacts"),
        raise_on_error=True,
        enable_caching=True,
        cache_root=str(tmp_path / "cache"),
    )
    for _ in range(2):
        pipeline(file=str(tmp_path / "log"))

    assert (tmp_path / "log").read_text() == "measured\n"
