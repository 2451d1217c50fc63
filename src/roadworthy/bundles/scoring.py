"""Run an ONNX graph on columns: the same for every model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, npt.NDArray[Any]]

_DTYPES: dict[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


class Stop:
    """Ends a call of a graph that takes too long, from another thread."""

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()
        self.options.log_severity_level = 4  # that it was stopped is no error of the graph

    @property
    def is_set(self) -> bool:
        """Whether the call was ended."""
        return bool(self.options.terminate)

    def now(self) -> None:
        """End the call, between two nodes of the graph."""
        self.options.terminate = True


class Scorer:
    """A loaded graph.

    Parameters
    ----------
    graph
        The bytes of ``model.onnx``.
    threads
        How many threads one call may use. One is best for small batches and for a server that
        answers many requests at a time.

    Attributes
    ----------
    inputs
        The numpy dtype of each input, by name, in the order of the graph.
    outputs
        The names of the outputs.
    """

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {node.name: _DTYPES[node.type] for node in self._session.get_inputs()}
        self.outputs = [node.name for node in self._session.get_outputs()]

    def score(self, columns: Columns, stop: Stop | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return the output columns for input columns of one length.

        Parameters
        ----------
        columns
            The input columns by name, with a leading batch dimension. Lists of unequal length are
            an object array of arrays: the graph is called once for each length.
        stop
            By which another thread can end the call early, which then raises what onnxruntime does.

        Raises
        ------
        KeyError
            A column is missing.
        """
        feed = {name: np.asarray(columns[name]) for name in self.inputs}
        ragged = [
            name
            for name, dtype in self.inputs.items()
            if feed[name].dtype == object and feed[name].ndim == 1 and _holds_lists(feed[name])
        ]
        if not ragged:
            return self._run(feed, stop)
        parts = [
            (rows, self._run({name: _stacked(feed[name][rows]) for name in feed}, stop))
            for rows in _of_one_length([feed[name] for name in ragged])
        ]
        return {
            name: _merged([(rows, found[name]) for rows, found in parts]) for name in parts[0][1]
        }

    def _run(self, feed: Columns, stop: Stop | None) -> dict[str, npt.NDArray[Any]]:
        typed = {name: np.asarray(feed[name], dtype) for name, dtype in self.inputs.items()}
        answers = self._session.run(self.outputs, typed, stop and stop.options)
        return dict(zip(self.outputs, answers, strict=True))


def from_frame(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Return columns of a frame as arrays; cells that are arrays of one shape are stacked."""
    return {name: _stacked(frame[name].to_numpy()) for name in names}


def to_frame(columns: Columns, index: pd.Index | None = None) -> pd.DataFrame:
    """Return columns as a frame, in which a cell may be an array."""
    import pandas as pd

    cells = {name: list(one) if one.ndim > 1 else one for name, one in columns.items()}
    return pd.DataFrame(cells, index=index)


def _stacked(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype != object or not _holds_lists(values):
        return values
    arrays = [np.asarray(value) for value in values]
    return np.stack(arrays) if len({array.shape for array in arrays}) == 1 else values


def _holds_lists(values: npt.NDArray[Any]) -> bool:
    return len(values) > 0 and not isinstance(values[0], str) and np.ndim(values[0]) > 0


def _of_one_length(ragged: Sequence[npt.NDArray[Any]]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the positions of the rows that have the same lengths."""
    lengths = np.array([[len(value) for value in column] for column in ragged]).T
    _, groups = np.unique(lengths, axis=0, return_inverse=True)
    for group in range(groups.max() + 1):
        yield np.flatnonzero(groups.ravel() == group)


def _merged(
    parts: Sequence[tuple[npt.NDArray[np.intp], npt.NDArray[Any]]],
) -> npt.NDArray[Any]:
    """Return the answers to groups of rows in the order of the rows."""
    if len({found.shape[1:] for _, found in parts}) == 1:
        stacked = np.concatenate([found for _, found in parts])
        merged = np.empty_like(stacked)
        merged[np.concatenate([positions for positions, _ in parts])] = stacked
        return merged
    merged = np.empty(sum(len(positions) for positions, _ in parts), object)
    for positions, found in parts:
        for position, row in zip(positions, found, strict=True):
            merged[position] = row
    return merged
