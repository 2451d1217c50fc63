"""Add what is new outside to the raw data of a model, and publish its newest request."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from roadworthy.core.settings import Settings
from roadworthy.data import dvc, validation
from roadworthy.models import contract
from roadworthy.models.contract import Model
from roadworthy.routing import latest


@dataclass(frozen=True)
class Ingested:
    """What an ingestion did.

    Parameters
    ----------
    added, rows
        How many rows were added, and how many there are now.
    as_of
        What the newest request is of; empty where the model has none.
    warning
        Why nothing was added although it should have been; the data is as before.
    """

    added: int
    rows: int
    as_of: str
    warning: str = ""

    def __str__(self) -> str:
        """Return it for the terminal."""
        of = f", the latest of {self.as_of}" if self.as_of else ""
        return f"{self.added} rows added, {self.rows} in all{of}"


def ingest(settings: Settings, model: str, root: Path, now: datetime) -> Ingested:
    """Add new rows to the data of a clone, put it under DVC, and publish the newest request.

    The data is a CSV file. Rows that are known by the model's key are left out; where the source
    fails or cannot be trusted, nothing is added.

    Raises
    ------
    DataError
        Known and new rows together violate the schema; nothing is added.
    DvcError
        The remote cannot be reached; run again, nothing is added twice.
    """
    chosen: Any = contract.load(model)
    file = _file(chosen, root)
    raw = _validated(chosen, file)
    new, warning = raw.iloc[:0], ""
    try:
        new = _unknown(chosen, raw, chosen.ingest(raw, now))
    except ValueError as error:  # what the contract says of a source that failed
        warning = str(error)
    if len(new):
        raw = _append(chosen, file, new)
        dvc.add(root, chosen.data.removesuffix(".dvc"))
        dvc.push(root, chosen.data)
    return Ingested(len(new), len(raw), publish(settings, chosen, raw), warning)


def publish(settings: Settings, model: Model, raw: pd.DataFrame) -> str:
    """Publish the newest request for the server's routes; return what it is of, or nothing."""
    chosen: Any = model
    if not hasattr(chosen, "latest"):
        return ""
    found = chosen.latest(raw)
    latest.write(settings.latest, model.name, found)
    return str(found.as_of)


def publish_known(settings: Settings, model: str, root: Path) -> None:
    """Publish the newest request of the data of a clone, if the model has any."""
    chosen = contract.load(model)
    if hasattr(chosen, "latest"):
        publish(settings, chosen, known_rows(chosen, root))


def known_rows(model: Model, root: Path) -> pd.DataFrame:
    """Return the valid raw data of a clone, which is pulled where it is missing.

    Raises
    ------
    DataError
        It violates the schema.
    DvcError
        It cannot be pulled.
    """
    return _validated(model, _file(model, root))


def _file(model: Model, root: Path) -> Path:
    file = root / model.data.removesuffix(".dvc")
    return file if file.is_file() else dvc.pull(root, model.data)


def _validated(model: Model, file: Path) -> pd.DataFrame:
    return validation.validate(validation.read(model, file), model.schema)


def _unknown(model: Model, raw: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    key = list(model.key) or list(raw.columns)
    known = pd.MultiIndex.from_frame(raw[key].astype(str))
    unknown: pd.DataFrame = found[~pd.MultiIndex.from_frame(found[key].astype(str)).isin(known)]
    return unknown


def _append(model: Model, file: Path, new: pd.DataFrame) -> pd.DataFrame:
    """Append rows to a file, whole or not at all, and return what it then holds."""
    scratch = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        shutil.copyfile(file, scratch)
        with scratch.open("rb+") as written:
            written.seek(-1, os.SEEK_END)
            ends = written.read() == b"\n"
            written.write(b"" if ends else b"\n")
            written.write(new.to_csv(index=False, header=False, lineterminator="\n").encode())
        raw = _validated(model, scratch)
        # DVC's file may be a link into its cache, which must not change.
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
    return raw
