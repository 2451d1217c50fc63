"""Answers from an ONNX graph, column by column: the same for every model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

Columns = Mapping[str, npt.NDArray[Any]]

_DTYPES: dict[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
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

    def columns(self, requests: Iterable[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return requests as columns: what one leaves out is not a number, or an empty word."""
        rows = list(requests)
        return {
            name: np.array(_column(rows, name, dtype), dtype) for name, dtype in self.inputs.items()
        }

    def score(self, columns: Columns, stop: Stop | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return the output columns for input columns of one length.

        Parameters
        ----------
        columns
            The input columns by name.
        stop
            By which another thread can end the call early, which then raises what onnxruntime does.

        Raises
        ------
        KeyError
            A column is missing.
        """
        feed = {name: np.asarray(columns[name], dtype) for name, dtype in self.inputs.items()}
        answers = self._session.run(self.outputs, feed, stop and stop.options)
        return dict(zip(self.outputs, answers, strict=True))


def _column(rows: Sequence[Mapping[str, Any]], name: str, dtype: Any) -> list[Any]:
    try:
        return [row[name] for row in rows]  # most requests leave out the same, or nothing
    except KeyError:
        left_out = "" if dtype is object else np.nan
        return [row.get(name, left_out) for row in rows]
