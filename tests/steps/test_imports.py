"""A step's module imports only what the step uses: imports are most of a step's time."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    *("sklearn", "mlflow", "matplotlib", "kserve", "onnxruntime"),
    *("onnx", "pandera", "pandas", "kfp", "dvc"),
}
ABSENT = {
    "stage report": HEAVY,
    "checkout": HEAVY - {"dvc"},
    "prepare": {"sklearn", "mlflow", "matplotlib", "kserve", "onnxruntime", "kfp", "onnx"},
    "train": {"mlflow", "kserve", "kfp", "onnxruntime", "pandera"},
    "evaluate gate": {"mlflow", "kserve", "pandera", "kfp"},
    "release canary promote reject roll_back": {
        *("sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib")
    },
}
LOADED = """
import importlib, json, os, sys
from roadworthy.models import contract

for steps in sys.argv[1:]:
    if os.fork():  # one process after another, none with what another has imported
        os.wait()
        continue
    for step in steps.split():
        importlib.import_module(f"roadworthy.steps.{step}")
    contract.load("fuel").data  # which a step asks for first
    told = [steps, sorted(sys.modules)]
    os.write(1, json.dumps(told).encode() + b"\\n")
    os._exit(0)
"""


@pytest.fixture(scope="module")
def loaded():
    """The modules that are imported with each group of steps, as one interpreter tells it."""
    command = [sys.executable, "-c", LOADED, *ABSENT]
    done = subprocess.run(command, check=True, capture_output=True)
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("steps", ABSENT)
def test_a_step_imports_only_what_it_uses(loaded, steps):
    assert {f"roadworthy.steps.{step}" for step in steps.split()} <= set(loaded[steps])
    assert not ABSENT[steps] & set(loaded[steps])
