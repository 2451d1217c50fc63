"""The notebook runs, says what is committed, and makes the very estimator of the pipeline."""

import ast
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

import roadworthy.models.fuel
from tests.conftest import SAMPLE

REPORT = """
import io
from hashlib import sha256

import joblib

buffer = io.BytesIO()
joblib.dump(estimator, buffer)
print(best.name, sha256(buffer.getvalue()).hexdigest())
"""
PIPELINE = """
import io, sys
from hashlib import sha256
from pathlib import Path

import joblib

from roadworthy.training.fitting import fit
from roadworthy.models import contract

fuel = contract.load("fuel")
frame = fuel.prepare(fuel.schema.validate(fuel.read(Path(sys.argv[1])))).frame
fitted = fit(fuel, fuel.split(frame).train)
buffer = io.BytesIO()
joblib.dump(fitted.estimator, buffer)
print(fitted.candidate.name, sha256(buffer.getvalue()).hexdigest())
"""


@pytest.fixture(scope="module")
def committed(root):
    return nbformat.read(root / "notebooks" / "fuel.ipynb", as_version=4)


@pytest.fixture(scope="module")
def executed(committed, root, tmp_path_factory):
    """The notebook, executed beside a copy of the sample data, with a cell at its end that reports."""
    place = tmp_path_factory.mktemp("project")
    shutil.copyfile(SAMPLE, place / "data.csv")
    shutil.copyfile(root / "data.csv.dvc", place / "data.csv.dvc")
    (place / "notebooks").mkdir()
    copy = nbformat.from_dict(committed)
    copy.cells.append(nbformat.v4.new_code_cell(REPORT))
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(
        copy, timeout=240, resources={"metadata": {"path": str(place / "notebooks")}}
    ).execute()
    return copy


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """What a cell says in text, without its pictures."""
    return "".join(
        output.text if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in cell.outputs
        if "image/png" not in output.get("data", {})
    )


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def test_every_code_cell_is_committed_with_its_outputs_in_order(committed):
    cells = code_cells(committed)

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [number for number, cell in enumerate(cells) if not cell.outputs] == []


def test_no_output_is_an_error_or_a_warning_or_names_a_machine(committed, root):
    for cell in code_cells(committed):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    text = nbformat.writes(committed)
    assert str(root) not in text
    assert "/home/" not in text


def test_the_notebook_carries_no_time_stamps_and_is_of_modest_size(committed, root):
    assert all(cell.metadata == {} for cell in committed.cells)
    assert committed.metadata.kernelspec.name == "python3"
    assert (root / "notebooks" / "fuel.ipynb").stat().st_size < 700_000


def test_the_steps_come_in_the_order_of_the_work(committed):
    headings = [
        line.lstrip("# ")
        for cell in committed.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("##")
    ]

    expected = [
        "Look",
        "Clean",
        "Iterations",
        "1. Linear",
        "2. A polynomial",
        "3. Weight and origin",
        "4. All features",
        "Choice",
        "Evaluation",
        "One car",
    ]
    positions = [
        next(number for number, heading in enumerate(headings) if heading.startswith(start))
        for start in expected
    ]
    assert positions == sorted(positions)


def test_it_runs_top_to_bottom_from_the_committed_source(committed, executed):
    assert [cell.source for cell in executed.cells[:-1]] == [
        cell.source for cell in committed.cells
    ]
    for cell in code_cells(executed):
        assert [output for output in cell.outputs if output.output_type == "error"] == []


def test_what_is_committed_is_what_it_says_when_it_runs(committed, executed):
    # the words must be the same; the numbers may differ as those of two processors do
    for before, now in zip(code_cells(committed), code_cells(executed)[:-1], strict=True):
        before_text, now_text = printed(before), printed(now)
        assert NUMBER.sub("0", before_text).split() == NUMBER.sub("0", now_text).split()
        numbers, again = (
            [float(number) for number in NUMBER.findall(text)] for text in (before_text, now_text)
        )
        assert again == pytest.approx(numbers, rel=0.05, abs=0.006)


def test_training_chooses_and_fits_the_same_estimator_to_the_last_byte(executed):
    # given what the notebook chose and fitted
    report = printed(executed.cells[-1])

    # when another process trains as the pipeline does
    done = subprocess.run(
        [sys.executable, "-c", PIPELINE, str(SAMPLE)],
        capture_output=True,
        text=True,
        check=True,
    )

    # then
    assert re.fullmatch(r"[a-z_]+ [0-9a-f]{64}\n", report)
    assert done.stdout == report


def test_it_imports_the_package_and_repeats_nothing_of_it(committed):
    # given every function and class of the package
    package = roadworthy.models.fuel
    names = set()
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        source = Path(importlib.import_module(module.name).__file__)
        names |= defined(ast.parse(source.read_text()))

    # when the notebook is read
    notebook = ast.parse("\n".join(cell.source for cell in code_cells(committed)))

    # then it imports the package, and defines nothing of that name
    assert {"train", "prepare", "split", "CarFeatures"} <= names
    assert not defined(notebook) & names
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(notebook)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert "roadworthy.models.fuel" in imported
    used = {
        node.attr
        for node in ast.walk(notebook)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "fuel"
    }
    assert used >= {"read", "schema", "prepare", "split", "candidates", "cross_validate"}
    assert used >= {"train", "score", "evaluate", "export", "Request"}


def test_without_the_data_the_first_cell_says_what_to_run(committed, root, tmp_path):
    (tmp_path / "data.csv.dvc").write_bytes((root / "data.csv.dvc").read_bytes())
    first = nbformat.v4.new_notebook(cells=[code_cells(committed)[0]])

    with pytest.raises(
        nbclient.exceptions.CellExecutionError, match=r"run `dvc pull data.csv.dvc`"
    ):
        nbclient.NotebookClient(first, resources={"metadata": {"path": str(tmp_path)}}).execute()


def defined(tree):
    """The functions and classes that a program defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
