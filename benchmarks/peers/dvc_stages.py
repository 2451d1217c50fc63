"""The stages of ``dvc.yaml``: ``python dvc_stages.py STAGE`` reads and writes their files."""

import pickle
import sys
from pathlib import Path
from typing import Any

import work


def main(stage: str) -> None:
    """Run one stage."""
    match stage:
        case "validate":
            _write(raw=work.validate("data.csv"))
        case "prepare":
            train_rows, hold_out = work.prepare(_read("raw"))
            _write(train_rows=train_rows, hold_out=hold_out)
        case "train":
            _write(fitted=work.train(_read("train_rows")))
        case "evaluate":
            evaluation, graph = work.evaluate(_read("fitted"), _read("hold_out"))
            _write(evaluation=evaluation, graph=graph)
        case "gate":
            read = map(_read, ("fitted", "graph", "hold_out"))
            _write(verdict=work.gate(*read))
        case "log":
            read = map(_read, ("fitted", "evaluation", "graph", "verdict", "hold_out"))
            _write(version=work.log(*read))
        case _:
            sys.exit(f"There is no stage {stage}.")


def _read(name: str) -> Any:
    return pickle.loads(Path(f"{name}.pickle").read_bytes())


def _write(**values: object) -> None:
    for name, value in values.items():
        Path(f"{name}.pickle").write_bytes(pickle.dumps(value))


if __name__ == "__main__":
    main(sys.argv[1])
