"""Runs each step of a compiled pipeline as a process that is forked from the engine.

A new interpreter spends more time on imports than most steps on their work. So the engine imports
what later steps need while a step runs, and a step starts with all that is imported by then.

Only a process without threads may fork: nothing that is imported here starts any but those of
OpenBLAS and Arrow, which end or restart theirs at a fork. onnxruntime is left to the steps: it
starts one at its import.
"""

import builtins
import gc
import importlib
import json
import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kfp import local
from kfp.dsl import executor_main
from kfp.local import subprocess_task_handler

from roadworthy.core.errors import RoadworthyError

IMPORTS = (
    "roadworthy.steps.checkout",
    "pandas",
    "pyarrow.parquet",
    "pandera.pandas",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.svm",
    "joblib",
    "onnx",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "sqlalchemy.orm",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "roadworthy.steps.release",
    "roadworthy.steps.canary",
)
"""What steps import, in the order in which they need it."""

_processes = multiprocessing.get_context("fork")
_print = builtins.print


class StepError(RoadworthyError):
    """A step cannot run as a process of this interpreter."""


def runner() -> local.SubprocessRunner:
    """Return KFP's runner of subprocesses, whose processes are forked from this one."""
    pending = iter(IMPORTS)

    def run(full_command: Sequence[str], env_vars: Mapping[str, str] | None = None) -> int:
        return run_step(full_command, env_vars or {}, pending)

    subprocess_task_handler.run_local_subprocess = run
    return local.SubprocessRunner(use_venv=False)


def run_step(command: Sequence[str], environment: Mapping[str, str], pending: Iterator[str]) -> int:
    """Run a step to its end and return its exit status. It prints to this process's output.

    Parameters
    ----------
    command
        The command of a lightweight Python component: a shell, ``-ec``, a script that calls KFP's
        executor, the component's code, and the executor's arguments.
    environment
        Variables on top of this process's.
    pending
        Modules that are imported here while the step runs.

    Raises
    ------
    StepError
        The command is another one.
    """
    if len(command) < 4 or f"-m {executor_main.__name__} " not in command[2]:
        raise StepError(
            f"`{' '.join(command)[:100]}` is not the command of a lightweight Python component: "
            f"run the pipeline with --docker."
        )
    process = _processes.Process(target=_step, args=(command[3], command[4:], environment))
    process.start()
    while process.is_alive() and (module := next(pending, None)):
        # A step that needs it imports it again, and says what is wrong.
        with suppress(Exception):
            importlib.import_module(module)
        gc.freeze()  # imported modules stay: no step collects garbage in them
    process.join()
    if not process.exitcode:
        _complete(command)
    return process.exitcode or 0


def _complete(command: Sequence[str]) -> None:
    """Make an empty file of each output that is metadata alone.

    KFP's cache takes an output without a file for one that was deleted.
    """
    outputs = json.loads(command[command.index("--executor_input") + 1])["outputs"]
    for listed in outputs.get("artifacts", {}).values():
        for artifact in listed["artifacts"]:
            if not (file := Path(artifact["uri"])).exists():
                file.touch()


def _step(code: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Do what the command of a component does, in the forked process."""
    builtins.print = _print  # KFP's indents
    logging.getLogger().handlers.clear()
    os.environ.update(environment, _KFP_RUNTIME="true")
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch) / "ephemeral_component.py"
        module.write_text(code)
        sys.argv = ["", "--component_module_path", str(module), *arguments]
        executor_main.executor_main()
