"""A component is a signature and a few lines that call a step."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(set((ROOT / "components").glob("*.py")) - {ROOT / "components" / "__init__.py"})
STATEMENTS = 10

sys.path.append(str(ROOT))


def function(file):
    module = ast.parse(file.read_text())
    found = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in found] == [file.stem], "one component a file, named like it"
    return found[0]


def body(node):
    """The statements but imports and the docstring, those in blocks among them."""
    return [
        found
        for found in ast.walk(node)
        if isinstance(found, ast.stmt)
        and found is not node
        and not isinstance(found, ast.Import | ast.ImportFrom)
        and not (isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant))
    ]


def test_there_is_a_component_for_every_step():
    steps = {file.stem for file in (ROOT / "src/roadworthy/steps").glob("*.py")}

    # `ingest` comes before the pipeline, whose runs are of a commit with its data.
    others = {"__init__", "ingest", "recording", "roll_back", "task", "training"}
    assert {file.stem for file in FILES} == steps - others


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_component_is_a_few_lines(file):
    node = function(file)

    assert ast.get_docstring(node)
    assert 1 <= len(body(node)) <= STATEMENTS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_component_imports_roadworthy_and_the_standard_library_only(file):
    imported = set()
    for node in ast.walk(function(file)):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.partition(".")[0])

    assert "roadworthy" in imported
    assert imported - {"roadworthy"} <= sys.stdlib_module_names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_component_never_reads_the_environment_itself(file):
    names = {node.attr for node in ast.walk(function(file)) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(function(file)) if isinstance(node, ast.Name)}

    assert not names & {"environ", "environb", "getenv", "os"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_component_uses_every_input(file):
    node = function(file)
    used = {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}

    assert {argument.arg for argument in node.args.args} <= used
