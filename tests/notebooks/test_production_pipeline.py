"""The notebook of the pipeline runs with the code of production, and copies none of it."""

import ast

import nbclient
import nbformat
import pytest


@pytest.fixture(scope="module")
def file(root):
    return root / "notebooks" / "production-pipeline.ipynb"


@pytest.fixture(scope="module")
def code(file):
    return [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]


def test_it_shows_a_step_its_component_the_compiled_pipeline_and_a_run(file):
    notebook = nbformat.read(file, as_version=4)

    place = {"metadata": {"path": str(file.parent)}}
    nbclient.NotebookClient(notebook, timeout=240, resources=place).execute()

    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "train done" in last.outputs[0].text


def test_it_imports_the_package_and_repeats_nothing_of_it(code):
    magic = ("%", "!")
    lines = [line for cell in code for line in cell.source.splitlines() if line[:1] not in magic]
    program = ast.parse("\n".join(lines))

    imported = {node.module for node in ast.walk(program) if isinstance(node, ast.ImportFrom)}
    defined = {node.name for node in ast.walk(program) if isinstance(node, ast.FunctionDef)}
    assert imported >= {"components.train", "roadworthy.steps.train", "pipelines.compiler", "kfp"}
    assert defined == {"show", "one_step"}


def test_what_is_committed_ran_in_order_and_names_no_machine(file, code, root):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {(one.output_type, one.name) for one in outputs} == {("stream", "stdout")}
    assert str(root) not in file.read_text()
    assert "/home/" not in file.read_text()
