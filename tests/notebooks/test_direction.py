"""The committed notebook has run from top to bottom, and copies nothing of the package."""

import ast

import nbformat
import pytest


@pytest.fixture(scope="module")
def cells(root):
    return nbformat.read(root / "notebooks" / "direction.ipynb", as_version=4).cells


def test_every_cell_ran_in_order_without_an_error_or_a_warning(cells, root):
    code = [cell for cell in cells if cell.cell_type == "code"]

    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
    text = (root / "notebooks" / "direction.ipynb").read_text()
    assert str(root) not in text
    assert all(cell.metadata == {} for cell in cells)


def test_it_defines_nothing_and_says_what_the_gate_will_see(cells):
    code = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    assert not [node for node in ast.walk(code) if isinstance(node, kinds)]

    used = {
        node.attr
        for node in ast.walk(code)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "direction"
    }
    assert used >= {"prepare", "split", "candidates", "cross_validate", "train", "evaluate"}
    printed = "".join(
        output.text
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    assert "near chance; do not trade on it" in printed
