"""The project's pipelines."""

import work
from kedro.pipeline import Node, Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipeline that validates, prepares, trains, evaluates, gates and logs."""
    nodes = [
        Node(work.validate, "params:data", "raw", name="validate"),
        Node(work.prepare, "raw", ["train_rows", "hold_out"], name="prepare"),
        Node(work.train, "train_rows", "fitted", name="train"),
        Node(work.evaluate, ["fitted", "hold_out"], ["evaluation", "graph"], name="evaluate"),
        Node(work.gate, ["fitted", "graph", "hold_out"], "verdict", name="gate"),
        Node(
            work.log,
            ["fitted", "evaluation", "graph", "verdict", "hold_out"],
            "version",
            name="log",
        ),
    ]
    return {"__default__": Pipeline(nodes)}
