"""Who may import whom: the layers hold, and nothing outside a model's package imports it."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from roadworthy.models import contract


def test_the_rules_hold(root):
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("model", contract.available())
def test_a_model_is_reached_through_the_contract_only(model):
    # given every import of the project
    graph = grimp.build_graph("roadworthy", "components", "pipelines")
    package = f"roadworthy.models.{model}"
    modules = {package, *graph.find_descendants(package)}

    # when those of the model's modules are looked for outside of it
    importers = set().union(*map(graph.find_modules_that_directly_import, modules)) - modules

    # then there are none
    assert not importers
