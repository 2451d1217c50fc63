"""Writes a new model into a clone, whole or not at all."""

from __future__ import annotations

import json
import keyword
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import dvc, git
from roadworthy.scaffolding.rendering import UNTRIED, Reached, render
from roadworthy.scaffolding.table import read_columns

_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")
_MODELS = Path("src/roadworthy/models")
# What a clone of the project has, and nothing else.
_LANDMARKS = (_MODELS / "contract.py", Path("pipelines/compiler.py"), Path(".dvc/config"))


class ScaffoldError(RoadworthyError):
    """A model cannot be begun."""


@dataclass(frozen=True)
class Scaffold:
    """A model that was begun.

    Parameters
    ----------
    root
        The root of the clone.
    written
        What was written, relative to it.
    reached
        What its better candidate reaches by cross-validation.
    """

    name: str
    root: Path
    written: tuple[Path, ...]
    reached: Reached

    @property
    def steps(self) -> tuple[str, str, str]:
        """The next three things to do, one sentence each."""
        package = _MODELS / self.name
        return (
            f"open notebooks/{self.name}.ipynb with `make notebook` and look at the data",
            f"narrow {package}/schema.py and request.py to what is true, with units, and set the "
            f"criteria in {package}/evaluation.py",
            f"commit what was written and `roadworthy run {self.name}`",
        )


def scaffold(root: Path, name: str, data: Path, target: str) -> Scaffold:
    """Write the first lines of a model into the clone that a directory is in.

    The package is tried before anything is written: what it reaches by cross-validation sets the
    bars of its gate. When a later part fails, what was written is taken back; DVC's cache and
    remote, which Git does not see, may keep the data.

    Parameters
    ----------
    root
        The clone, or a directory in it.
    name
        The model's name.
    data
        A CSV file with a header; it stays where it is, and ``data/NAME.csv`` is its copy.
    target
        The column to predict.

    Raises
    ------
    ScaffoldError
        The name is no lowercase identifier or taken, the file cannot be read, the directory is in
        no clone of the project, or the package that would be written cannot be trained.
    TableError
        The table is not one that a model can be begun with.
    GitError, DvcError
        Git or DVC refuses.
    """
    root = _root(root)
    _check_name(root, name)
    _check_place(root, data, name)
    table = read_columns(_read(data), target)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as directory:
        scratch = Path(directory)
        _write(scratch, render(name, table, UNTRIED))
        reached = _try(root, scratch, name, data.resolve())
        files = render(name, table, reached)
        _write(scratch, files)
        with ExitStack() as undo:
            _place(root, scratch, files, undo)
            _place_data(root, data, Path("data") / f"{name}.csv", undo)
            _compile(root, name, undo)
            dvc.push(root, _add(root, f"data/{name}.csv", undo))
            undo.pop_all()
    rest = (f"data/{name}.csv.dvc", "data/.gitignore", f"pipelines/{name}.yaml")
    return Scaffold(name, root, tuple(Path(path) for path in (*files, *rest)), reached)


def _root(directory: Path) -> Path:
    root = git.inspect_root(directory)
    if lacking := [path for path in _LANDMARKS if not (root / path).exists()]:
        raise ScaffoldError(
            f"{root} is no clone of this project, it has no {lacking[0]}: change to one and run "
            f"again."
        )
    return root


def _check_name(root: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ScaffoldError(
            f"{name!r} cannot be the name of a model: take a word of at most 24 small letters, "
            f"digits and underscores that begins with a letter, for example boats."
        )
    places = (
        _MODELS / name,
        _MODELS / f"{name}.py",
        Path("notebooks") / f"{name}.ipynb",
        Path("pipelines") / f"{name}.yaml",
        Path("data") / f"{name}.csv.dvc",
    )
    if taken := [path for path in places if (root / path).exists()]:
        raise ScaffoldError(
            f"The name {name} is taken, there is {taken[0]}: take another, or remove that."
        )


def _check_place(root: Path, data: Path, name: str) -> None:
    place = root / "data" / f"{name}.csv"
    if place.exists() and not (data.exists() and place.samefile(data)):
        raise ScaffoldError(
            f"There is another file data/{name}.csv: remove it, or name it as the data."
        )


def _read(data: Path) -> pd.DataFrame:
    """Return every value as it stands in the file."""
    try:
        frame = pd.read_csv(data, dtype=str)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ScaffoldError(f"There is no file {data}: name a CSV file with a header.") from error
    except pd.errors.EmptyDataError as error:
        raise ScaffoldError(f"{data} is empty: name a CSV file with a header.") from error
    except (ValueError, OSError) as error:  # a ValueError is a bad line or a byte that is no UTF-8
        told = " ".join(str(error).split())
        raise ScaffoldError(
            f"{data} cannot be read ({told}): save it as a CSV file in UTF-8, with a header and "
            f"commas."
        ) from error
    if frame.empty:
        raise ScaffoldError(f"{data} has no rows: name a CSV file with a header and data.")
    return frame


def _write(directory: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")


def _try(root: Path, scratch: Path, name: str, data: Path) -> Reached:
    program = (sys.executable, "-m", "roadworthy.scaffolding.trial")
    arguments = (scratch / _MODELS, name, data, scratch / "bundle")
    # What it would leave behind is of the text before the bars are set.
    environment = {**_clone_first(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        printed = call([*program, *arguments], environment=environment)
    except CommandError as error:
        # The last line of a traceback: the error's type and what it says.
        _, _, told = (error.output.splitlines()[-1:] or [""])[0].partition(": ")
        raise ScaffoldError(
            f"No model can be trained with {data} ({(told or str(error)).removesuffix('.')}): look "
            f"at the file."
        ) from error
    return Reached(**json.loads(printed))


def _place(root: Path, scratch: Path, files: Mapping[str, str], undo: ExitStack) -> None:
    for path in files:
        _make_directory((root / path).parent, undo)
        undo.callback((root / path).unlink, missing_ok=True)
        shutil.move(scratch / path, root / path)


def _place_data(root: Path, data: Path, path: Path, undo: ExitStack) -> None:
    place = root / path
    if place.exists():  # it is the data itself
        return
    _make_directory(place.parent, undo)
    undo.callback(place.unlink, missing_ok=True)
    shutil.copyfile(data, place)


def _compile(root: Path, name: str, undo: ExitStack) -> None:
    undo.callback((root / "pipelines" / f"{name}.yaml").unlink, missing_ok=True)
    program = [sys.executable, "-m", "pipelines.compiler", name]
    remedy = f"Mend that and run again, the model {name} is taken back."
    call(program, cwd=root, environment=_clone_first(root), remedy=remedy)


def _add(root: Path, path: str, undo: ExitStack) -> str:
    ignored = (root / path).with_name(".gitignore")
    former = ignored.read_bytes() if ignored.exists() else None
    undo.callback(_restore, ignored, former)
    undo.callback((root / f"{path}.dvc").unlink, missing_ok=True)
    return dvc.add(root, path)


def _make_directory(directory: Path, undo: ExitStack) -> None:
    """Make a directory that goes with all in it when things are taken back, unless it is there."""
    if not directory.exists():
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.mkdir(parents=True)


def _restore(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def _clone_first(root: Path) -> dict[str, str]:
    """Return the environment in which the clone's code goes before what is installed."""
    path = [str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
