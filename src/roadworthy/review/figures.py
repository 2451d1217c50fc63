"""The figure of a comparison, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

_MOST_POINTS = 2000
_COLOURS = {"#8a5a00": "var(--first)", "#2563a8": "var(--second)", "#000000": "currentColor"}
"""What takes the place of the colours in a page, which has a light and a dark scheme."""


def scatter(
    label: str,
    names: tuple[str, str],
    answers: Sequence[tuple[float, float]],
    known: Sequence[float],
) -> str:
    """Return the answers of two versions against each other beside their residuals, as SVG.

    Its colours are those of the page: ``--first`` and ``--second``, on no ground of its own.

    Parameters
    ----------
    label
        What the numbers are, with their unit.
    answers
        Of both versions, [n, 2]. At most 2,000 rows are drawn, evenly spaced.
    known
        The true values, [n]. Without them the first version's answers take their place.
    """
    # Matplotlib takes a second, and a comparison of labels has no figure.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    step = -(-len(answers) // _MOST_POINTS)
    first, second = np.array(answers[::step], dtype=np.float64).T
    true = np.array(known[::step], dtype=np.float64) if known else first
    of_first, of_second, of_text = _COLOURS
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "roadworthy"}):
        figure = Figure(figsize=(10, 4), layout="constrained")
        both, residuals = figure.subplots(1, 2)
        both.scatter(first, second, s=14, alpha=0.6, color=of_second)
        both.axline((first[0], first[0]), slope=1, color=of_text, lw=0.8)
        both.set(title=f"Answers, {label}", xlabel=names[0], ylabel=names[1])
        for name, answered, colour in zip(
            names, (first, second), (of_first, of_second), strict=True
        ):
            residuals.scatter(true, answered - true, s=14, alpha=0.6, label=name, color=colour)
        residuals.axhline(0, color=of_text, lw=0.8)
        residuals.set(title="Residuals", xlabel="true value" if known else names[0])
        residuals.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return text[text.index("<svg") :]
