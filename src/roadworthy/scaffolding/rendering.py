"""The first lines of a model as text: from what a table holds to the content of each file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jinja2

from roadworthy.scaffolding.table import Table

MODULES = ("__init__", "dataset", "estimator", "evaluation", "graph", "request", "schema")
"""The modules of a model's package."""
_CELL = "# %%"
_LINE_LENGTH = 100


@dataclass(frozen=True)
class Reached:
    """What the chosen candidate reached by cross-validation, which sets the bars of the gate.

    Parameters
    ----------
    r2, mae
        R² and mean absolute error.
    r2_deviation, mae_deviation
        By how much they differ from fold to fold; a fold is about as large as the hold-out.
    """

    candidate: str
    r2: float
    r2_deviation: float
    mae: float
    mae_deviation: float

    @property
    def r2_bar(self) -> float:
        """A little below R². It is never below 0: that is what the mean alone reaches."""
        return _down(self.r2 - 0.01)

    @property
    def r2_hold_out_bar(self) -> float:
        """Three deviations below R², because a hold-out is small."""
        return _down(self.r2 - 3 * self.r2_deviation)

    @property
    def mae_bar(self) -> float:
        """Three deviations above the error, rounded up to two digits."""
        bar = self.mae + 3 * self.mae_deviation
        step = 10.0 ** (math.floor(math.log10(bar)) - 1) if bar > 0 else 1.0
        return float(f"{math.ceil(bar / step) * step:.3g}")


UNTRIED = Reached("no candidate", 0.0, 0.0, 0.0, 0.0)
"""Before anything was tried: bars that nothing is held against."""


def render(name: str, table: Table, reached: Reached) -> dict[str, str]:
    """Return the text of each file of a model by its path in the clone: package and notebook."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("roadworthy.scaffolding"),
        autoescape=False,  # noqa: S701 - what is written is Python
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = quoted
    environment.globals["imported"] = imported
    values = {
        "name": name,
        "estimator": f"{''.join(part.title() for part in name.split('_'))}Estimator",
        "table": table,
        "reached": reached,
        "imports": _imports(table),
    }

    def filled(template: str) -> str:
        return environment.get_template(template).render(values)

    package = f"src/roadworthy/models/{name}"
    files = {f"{package}/{module}.py": filled(f"{module}.py.j2") for module in MODULES}
    return files | {f"notebooks/{name}.ipynb": notebook(filled("notebook.py.j2"))}


def notebook(script: str) -> str:
    """Return a notebook without outputs, of a script whose cells begin with ``# %%``."""
    lines = script.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_CELL)]
    cells = [
        _cell(number, lines[start], lines[start + 1 : end])
        for number, (start, end) in enumerate(pairwise([*starts, len(lines)]))
    ]
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def quoted(value: object) -> str:
    """Return a number or a word as the formatter writes it in Python."""
    if not isinstance(value, str):
        return repr(value)
    # The formatter takes single quotes only where they need fewer backslashes.
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join(_sign(sign, quote) for sign in value) + quote


def imported(names: Mapping[str, Sequence[str]]) -> str:
    """Return the imports from modules of ``roadworthy.models``, as the linter sorts them."""
    lines = []
    for module, wanted in sorted(names.items()):
        line = f"from roadworthy.models.{module} import "
        if len(line) + len(", ".join(wanted)) <= _LINE_LENGTH:
            lines.append(line + ", ".join(wanted))
        else:
            lines += [f"{line}(", *(f"    {name}," for name in wanted), ")"]
    return "\n".join(lines)


def _imports(table: Table) -> dict[str, list[str]]:
    """Return what the module of the request imports."""
    optional = [column for column in table.features if column.name not in table.required]
    kinds = {column.kind for column in optional}
    whole = any(column.whole for column in optional)
    words = bool(table.words)
    wanted = {
        "typing": {"Annotated": True, "Literal": words},
        "pydantic": {
            "BaseModel": True,
            "ConfigDict": True,
            "Field": words or bool(optional),
            "PlainSerializer": whole,
        },
        "fields": {
            "no_number": "number" in kinds,
            "no_word": "word" in kinds,
            "number": True,
            "unchanged": whole,
        },
    }
    return {
        module: [name for name, used in names.items() if used] for module, names in wanted.items()
    }


def _cell(number: int, head: str, lines: list[str]) -> dict[str, Any]:
    source = "\n".join(lines).strip("\n").splitlines(keepends=True)
    common = {"id": f"cell-{number:02}", "metadata": {}}
    if head.endswith("[markdown]"):
        text = [line.removeprefix("#").removeprefix(" ") for line in source]
        return {"cell_type": "markdown", **common, "source": text}
    return {
        "cell_type": "code",
        "execution_count": None,
        **common,
        "outputs": [],
        "source": source,
    }


def _sign(sign: str, quote: str) -> str:
    """Return a sign of a word in Python; one that could be taken for another, by its number."""
    if sign in "\"'":
        return f"\\{sign}" if sign == quote else sign
    if sign.isascii() or (sign.isalpha() and sign < "\u0250"):
        return repr(sign)[1:-1]
    return sign.encode("ascii", "backslashreplace").decode()


def _down(value: float) -> float:
    return max(0.0, math.floor(value * 100) / 100)
