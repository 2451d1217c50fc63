"""Write a new model into a clone, whole or not at all."""

from __future__ import annotations

import json
import keyword
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import dvc, git
from roadworthy.models.tables import CsvError, read_strings
from roadworthy.scaffolding.rendering import Reached, render
from roadworthy.scaffolding.table import (
    NO_ROLES,
    Choice,
    Roles,
    Table,
    Task,
    determined_by,
    read_columns,
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")
_MODELS = Path("src/roadworthy/models")
_SHOWN = 10
# What a clone of the project has, and nothing else.
_LANDMARKS = (_MODELS / "contract.py", Path("pipelines/compiler.py"), Path(".dvc/config"))


class ScaffoldError(RoadworthyError):
    """A model cannot be started."""


@dataclass(frozen=True)
class Scaffold:
    """A new model.

    Parameters
    ----------
    root
        The root of the clone.
    written
        The new files, relative to it.
    chosen
        Its task, and why.
    reached
        What its best candidate reaches by cross-validation.
    notes
        What the data's owner must know: columns that are not learnt from, or that give the target
        away.
    """

    name: str
    root: Path
    written: tuple[Path, ...]
    chosen: Choice
    reached: Reached
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[str, str, str]:
        """The next three things to do, one sentence each."""
        package = _MODELS / self.name
        return (
            f"open notebooks/{self.name}.ipynb with `make notebook` and look at the data",
            f"narrow {package}/schema.py and request.py to what is true, with units, and set the "
            f"criteria in {package}/evaluation.py",
            f"commit the new files and `roadworthy run {self.name}`",
        )


def scaffold(
    root: Path,
    name: str,
    data: Path,
    target: str,
    task: Task | None = None,
    roles: Roles = NO_ROLES,
) -> Scaffold:
    """Write a new model into the clone that a directory is in.

    The package is tried before anything is written: what it reaches by cross-validation sets the
    bounds of its gate. When a later part fails, the files are removed; DVC's cache and remote,
    which Git does not see, may keep the data.

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
    task
        Whether to predict a number or a class. By default the target decides.
    roles
        Columns that are not features.

    Raises
    ------
    ScaffoldError
        The name is not a lowercase identifier or exists, the file cannot be read, the directory is
        not in a clone of the project, or the new package cannot be trained.
    TableError
        A model cannot be started from the table.
    GitError, DvcError
        Git or DVC refuses.
    """
    root = _root(root)
    _check_name(root, name)
    _check_place(root, data, name)
    frame = _read(data)
    table = read_columns(frame, target, task, roles)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as directory:
        scratch = Path(directory)
        _write(scratch, render(name, table, Reached()))
        reached = _try(root, scratch, name, data.resolve())
    files = render(name, table, reached)
    rest = (f"data/{name}.csv.dvc", "data/.gitignore", f"pipelines/{name}.yaml")
    place = f"data/{name}.csv"
    with _restored_on_failure(root, (*files, *rest, place)):
        _write(root, files)
        _format(root, _MODELS / name)
        if not (root / place).exists():
            (root / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(data, root / place)
        call(
            [sys.executable, "-m", "pipelines.compiler", name],
            cwd=root,
            environment=_clone_first(root),
            remedy=f"Fix that and run again; the model {name} was removed.",
        )
        dvc.push(root, dvc.add(root, place))
    written = tuple(Path(path) for path in (*files, *rest))
    return Scaffold(name, root, written, table.chosen, reached, _notes(frame, table))


def _notes(frame: pd.DataFrame, table: Table) -> tuple[str, ...]:
    notes = []
    if renamed := [f"{header!r} is {name}" for header, name in table.headers.items()]:
        notes.append(f"In the code, {_listed(renamed)}.")
    if unused := [f"{of.name} ({of.reason})" for of in table.columns if of.reason]:
        notes.append(f"Not learnt from: {_listed(unused)}.")
    if table.identifier:
        notes.append(
            f"{table.identifier} says what a row is about: the rows of one are on one side of the "
            f"hold-out."
        )
    if dates := list(table.dates):
        notes.append(
            f"Of {_listed(dates)} the day is learnt from, as year, season and weekday; a request "
            f"takes it as 2024-03-15."
        )
    if telling := determined_by(frame, table):
        notes.append(
            f"{table.target} follows exactly from {' and '.join(telling)}. Leave out what is not "
            f"known when a prediction is requested: start again with --ignore {telling[0]}."
        )
    return tuple(notes)


def _listed(things: Sequence[str]) -> str:
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return f"{', '.join(things[:_SHOWN])}{more}"


def _root(directory: Path) -> Path:
    root = git.inspect_root(directory)
    if lacking := [path for path in _LANDMARKS if not (root / path).exists()]:
        raise ScaffoldError(
            f"{root} is not a clone of this project, it has no {lacking[0]}: change to one and run "
            f"again."
        )
    return root


def _check_name(root: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ScaffoldError(
            f"{name!r} cannot be the name of a model: use at most 24 lowercase letters, "
            f"digits and underscores, beginning with a letter, for example boats."
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
            f"The model {name} exists already: {taken[0]}. Use another name, or remove that file."
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
        frame = read_strings(data).dropna(how="all")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ScaffoldError(f"There is no file {data}: name a CSV file with a header.") from error
    except (CsvError, OSError) as error:
        raise ScaffoldError(f"{error}, and run again.") from error
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
    try:
        printed = call([*program, *arguments], environment=_clone_first(root))
    except CommandError as error:
        # The last line of a traceback: the type of the error and its message.
        _, _, message = (error.output.splitlines()[-1:] or [""])[0].partition(": ")
        raise ScaffoldError(
            f"No model can be trained with {data} ({(message or str(error)).removesuffix('.')}): "
            f"check the file."
        ) from error
    return Reached(**json.loads(printed))


def _format(root: Path, package: Path) -> None:
    """Remove unused imports and format, as ``make lint`` requires it."""
    for arguments in (("check", "--fix", "--select=F401,I"), ("format",)):
        call(
            [sys.executable, "-m", "ruff", *arguments, "--quiet", "--no-cache", package],
            cwd=root,
            remedy="Install the development tools with `make .venv/.installed` and run again.",
        )


@contextmanager
def _restored_on_failure(root: Path, paths: Sequence[str]) -> Iterator[None]:
    """Restore files, and remove those that were not there with their new directories."""
    created = [root / path for path in paths if not (root / path).exists()]
    directories = {of for file in created for of in file.parents if not of.exists()}
    ignored = root / "data" / ".gitignore"
    former = ignored.read_bytes() if ignored.exists() else None
    try:
        yield
    except BaseException:
        for file in created:
            file.unlink(missing_ok=True)
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
        if former is not None:
            ignored.write_bytes(former)
        raise


def _clone_first(root: Path) -> dict[str, str]:
    """Return the environment in which the clone's code precedes the installed one."""
    path = [str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
