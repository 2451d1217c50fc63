"""Figures of a comparison as SVG that takes the colours of the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib import figure as mpl

# Matplotlib writes fixed colours; in the page they become the text's and the two versions' own.
_INK, _FIRST, _SECOND = "#010101", "#020202", "#030303"
_COLOURS = {_INK: "currentColor", _FIRST: "var(--first)", _SECOND: "var(--second)"}
_STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "grid.color"), _INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "font.size": 9,
    "grid.alpha": 0.15,
    "svg.fonttype": "none",
    "svg.hashsalt": "roadworthy",
}
_POINTS: dict[str, Any] = {"s": 14, "alpha": 0.6, "linewidths": 0}
_MOST_POINTS = 2000


class Figure(NamedTuple):
    """An SVG element and its caption."""

    svg: str
    caption: str


def scatter(
    label: str,
    names: tuple[str, str],
    answers: Sequence[tuple[float, float]],
    known: Sequence[float],
) -> list[Figure]:
    """Return the answers of both versions against each other, and their residuals.

    Parameters
    ----------
    label
        What the numbers are, with their unit.
    answers
        Of both versions, [n, 2]. At most 2,000 rows are drawn, evenly spaced.
    known
        The true values, [n]. Without them the first version's answers take their place.
    """
    step = -(-len(answers) // _MOST_POINTS)
    first, second = np.array(answers[::step], dtype=np.float64).T
    true = np.array(known[::step], dtype=np.float64) if known else first
    figure, axes = _axes()
    axes.scatter(first, second, color=_SECOND, **_POINTS)
    axes.axline((first[0], first[0]), slope=1, color=_INK, lw=0.8)
    axes.set(xlabel=names[0], ylabel=names[1])
    against = Figure(
        _svg(figure), f"Answers to the same rows, {label}. On the line both are equal."
    )
    figure, axes = _axes()
    axes.scatter(true, first - true, color=_FIRST, label=names[0], **_POINTS)
    axes.scatter(true, second - true, color=_SECOND, label=names[1], **_POINTS)
    axes.axhline(0, color=_INK, lw=0.8)
    axes.set(xlabel="true value" if known else names[0], ylabel="difference from it")
    axes.legend(frameon=False, labelcolor=_INK)
    return [against, Figure(_svg(figure), f"Residuals of both versions, {label}.")]


def _axes() -> tuple[mpl.Figure, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    with mpl.rc_context(_STYLE):
        figure = Drawing(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: mpl.Figure) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    # Its groups are named alike in every figure, and nothing refers to them.
    text = re.sub(r'<g id="\w+">', "<g>", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for fixed, ours in _COLOURS.items():
        text = text.replace(fixed, ours)
    return text
