"""What a model is made of stands in its own places: no other file names it or what is its own.

Its own are its name, its data and the fields, units and metrics that no other model has to use.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.models import contract, tensors
from roadworthy.models.contract import Model

EVERYBODYS = {
    *("coverage", "origin", "region", "year", "value", "values", "label", "count"),
    *("bound", "judged", "note", "precision", "recall", "score", "unit"),
}
"""Words of fields, units and metrics that mean the same without any model."""
NEEDS_A_MODEL = ("tests/", "benchmarks/", ".dvc/")
"""What tests and measures with some model, and the content of its data."""
OVERLAYS = ("overlays/kind", "overlays/production", "overlays/staging")
TYPED = {
    "README.md": "the first commands and the first request that a user types",
    "LICENSE": "has its own words",
    "CHANGELOG.md": "tells users of this model what changed",
    "Makefile": "the model of `make run`; MODEL=NAME names another",
    "deploy/cloudbuild.yaml": "the model to roll out; a trigger names another",
    "docs/": "commands, requests and addresses that a user types",
    "mkdocs.yml": "the list of pages, one of which is the model's",
    **dict.fromkeys(
        (f"deploy/{place}/gateway.conf" for place in ("base/client", *OVERLAYS)),
        "which models the page lists, for whoever runs the cluster to change",
    ),
    "notebooks/production-pipeline.ipynb": "runs the pipeline of one model, and shows its metrics",
    "src/roadworthy/cli/": "the examples of `--help`, which name no field",
}
"""Where a model is named as an example, and why."""


def own_words(model: Model) -> set[str]:
    """Return the words that only the model's own places may use, but for its name."""
    fields = [
        *tensors.parse(model.Request.model_json_schema()).values(),
        *tensors.parse(model.Answer.model_json_schema()).values(),
    ]
    bounds = (*model.criteria.cross_validated, *model.criteria.hold_out)
    words = {field.name for field in fields} | {field.unit for field in fields}
    words |= {*model.schema.columns, *(bound.name for bound in bounds), model.data}
    return {word for word in words if len(word) > 2} - EVERYBODYS


def outside(root: Path, model: Model) -> Iterator[Path]:
    """Yield the files of the project that are not the model's own."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    found = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout
    own = (
        *(f"src/roadworthy/models/{model.name}/", f"deploy/{model.name}/"),
        *(f"notebooks/{model.name}.ipynb", f"pipelines/{model.name}.yaml"),
        *(f"docs/models/{model.name}.md", model.data, model.data.removesuffix(".dvc")),
        "data/.gitignore",  # where `dvc add` names the data of every model
    )
    for name in filter(None, found.split("\0")):
        if (root / name).is_file() and not name.startswith((*own, *NEEDS_A_MODEL)):
            yield root / name


@pytest.mark.parametrize("name", contract.available())
def test_no_other_file_names_a_model_or_what_is_its_own(root: Path, name: str):
    model = contract.load(name)
    words = sorted(map(re.escape, own_words(model)), key=len, reverse=True)
    its_own = re.compile(rf"(?<![\w-])({'|'.join(words)})(?![\w-])")
    its_name = re.compile(rf"\b{name}\b")
    found = []
    for file in outside(root, model):
        place = file.relative_to(root).as_posix()
        is_example = place.startswith(tuple(TYPED))
        if is_example and not place.startswith("src/"):
            continue
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            named = its_own.search(line) or (not is_example and its_name.search(line))
            found += [f"{place}:{number}: {named[0]}"] if named else []
    assert not found, "\n".join(found)


def test_every_exception_is_needed(root: Path):
    names = re.compile(rf"\b({'|'.join(contract.available())})\b")
    for place in TYPED:
        found = [root / place] if (root / place).is_file() else (root / place).rglob("*")
        texts = (file.read_text(errors="replace") for file in found if file.is_file())
        assert any(names.search(text) for text in texts), place
