"""How data is kept between the steps of a pipeline: in a file, or in a directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from roadworthy.models.tables import read_csv


@dataclass(frozen=True)
class TableDataset:
    """A table as one Parquet file. A cell may be a list of numbers, as a numpy array.

    Parameters
    ----------
    reader
        Reads the raw data.
    """

    reader: Callable[[Path], pd.DataFrame] = read_csv

    def read(self, path: Path) -> pd.DataFrame:
        """Return the raw data of a file or directory, untouched."""
        return self.reader(path)

    def write(self, data: pd.DataFrame, path: Path) -> None:
        """Write rows for another step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path, index=False)

    def load(self, path: Path) -> pd.DataFrame:
        """Return the rows that :meth:`write` wrote."""
        return pd.read_parquet(path)

    def count(self, data: pd.DataFrame) -> int:
        """Return how many rows there are."""
        return len(data)


@dataclass(frozen=True)
class ArrayDataset(TableDataset):
    """A directory: each column of arrays in a ``.npy`` file, the rest in a Parquet file.

    Parameters
    ----------
    arrays
        The columns whose cells are arrays of one shape, such as images.
    """

    arrays: tuple[str, ...] = ()

    def write(self, data: pd.DataFrame, path: Path) -> None:
        """Write rows for another step."""
        path.mkdir(parents=True, exist_ok=True)
        for name in self.arrays:
            np.save(path / f"{name}.npy", np.stack(list(data[name])), allow_pickle=False)
        data.drop(columns=list(self.arrays)).to_parquet(path / "rows.parquet", index=False)

    def load(self, path: Path) -> pd.DataFrame:
        """Return the rows that :meth:`write` wrote."""
        frame = pd.read_parquet(path / "rows.parquet")
        for name in self.arrays:
            frame[name] = list(np.load(path / f"{name}.npy", allow_pickle=False))
        return frame
