"""The files of a new model as text, from what its table holds."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import jinja2

from roadworthy.scaffolding.table import Table

MODULES = ("__init__", "estimator", "evaluation", "graph", "request", "schema", "table")
"""The modules of a model's package."""
_CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Reached:
    """What the chosen candidate reaches by cross-validation, from which the gate's bounds are made.

    Parameters
    ----------
    metrics
        As :class:`roadworthy.models.contract.Validation` has them: ``cv_<name>``, and
        ``cv_<name>_deviation`` from fold to fold; a fold is about as large as the hold-out.
    seed
        Which rows are held out.
    """

    candidate: str = "no candidate"
    metrics: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def of(self, metric: str) -> float:
        """Return a metric; 0 before anything was tried."""
        return self.metrics.get(f"cv_{metric}", 0.0)

    def deviation(self, metric: str) -> float:
        """Return the standard deviation of a metric from fold to fold."""
        return self.of(f"{metric}_deviation")

    def least(self, metric: str, deviations: int = 3) -> float:
        """Return a bound below a metric, rounded down to hundredths, and never negative."""
        slack = deviations * self.deviation(metric) or 0.01
        return max(0.0, math.floor((self.of(metric) - slack) * 100) / 100)

    def most(self, metric: str) -> float:
        """Return a bound three deviations above a metric, rounded up to two digits."""
        bound = self.of(metric) + 3 * self.deviation(metric)
        step = 10.0 ** (math.floor(math.log10(bound)) - 1) if bound > 0 else 1.0
        return float(f"{math.ceil(bound / step) * step:.3g}")


def render(name: str, table: Table, reached: Reached) -> dict[str, str]:
    """Return the text of each file by its path in the clone: the package and the notebook.

    It is valid Python; ``ruff`` removes the imports that are not used and formats it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("roadworthy.scaffolding"),
        autoescape=False,  # noqa: S701 - the result is Python
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = ascii
    values = {
        "name": name,
        "estimator": f"{''.join(part.title() for part in name.split('_'))}Estimator",
        "table": table,
        "classifies": table.task == "classification",
        "fields": tuple(table.probabilities),
        "reached": reached,
    }

    def filled(template: str) -> str:
        return environment.get_template(template).render(values)

    package = f"src/roadworthy/models/{name}"
    files = {f"{package}/{module}.py": filled(f"{module}.py.j2") for module in MODULES}
    return files | {f"notebooks/{name}.ipynb": notebook(filled("notebook.py.j2"))}


def notebook(script: str) -> str:
    """Return a notebook without outputs, from a script whose cells begin with ``# %%``."""
    _, *parts = _CELL.split(script)
    cells: list[dict[str, Any]] = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        common = {"id": f"cell-{len(cells):02}", "metadata": {}}
        if "markdown" in kind:
            source = re.sub(r"^# ?", "", text.strip("\n"), flags=re.MULTILINE)
            cells.append({"cell_type": "markdown", **common, "source": source.splitlines(True)})
        else:
            code = {"execution_count": None, "outputs": [], **common}
            source = text.strip("\n")
            cells.append({"cell_type": "code", **code, "source": source.splitlines(True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
