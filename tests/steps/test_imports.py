"""A step's module imports only what the step uses: imports are most of a step's time."""

import pytest

from tests.loading import loaded_by

HEAVY = {
    "sklearn",
    "mlflow",
    "matplotlib",
    "kserve",
    "onnxruntime",
    "onnx",
    "pandera",
    "pandas",
    "kfp",
    "dvc",
}
ABSENT = {
    "checkout": {
        "mlflow",
        "pandas",
        "sklearn",
        "matplotlib",
        "kserve",
        "onnxruntime",
        "pandera",
        "onnx",
        "kfp",
    },
    "prepare": {"sklearn", "mlflow", "matplotlib", "kserve", "onnxruntime", "kfp", "onnx"},
    "stage": HEAVY,
    "canary": {"sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib"},
    "report": HEAVY,
    "evaluate": {"mlflow", "kserve", "pandera", "kfp"},
    "gate": {"mlflow", "kserve", "pandera", "kfp"},
    "train": {"mlflow", "kserve", "kfp", "onnxruntime", "pandera"},
    "release": {"sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib"},
    "reject": {"sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib"},
    "roll_back": {"sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib"},
    "promote": {"sklearn", "kserve", "onnxruntime", "kfp", "pandera", "matplotlib"},
}


@pytest.mark.parametrize("step", ABSENT)
def test_a_step_imports_only_what_it_uses(step):
    # the calls that a step makes first, besides the import, are in the model it loads
    loaded = loaded_by(
        f"import roadworthy.steps.{step}; from roadworthy.models import contract; "
        "contract.load('fuel').data"
    )

    assert f"roadworthy.steps.{step}" in loaded
    assert not loaded & ABSENT[step]
