"""The figure of a comparison, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roadworthy.models.figures import FIRST, SECOND, TEXT, svg

_MOST_POINTS = 2000


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
    from matplotlib.figure import Figure

    step = -(-len(answers) // _MOST_POINTS)
    first, second = np.array(answers[::step], dtype=np.float64).T
    true = np.array(known[::step], dtype=np.float64) if known else first
    figure = Figure(figsize=(10, 4), layout="constrained")
    both, residuals = figure.subplots(1, 2)
    both.scatter(first, second, s=14, alpha=0.6, color=SECOND)
    both.axline((first[0], first[0]), slope=1, color=TEXT, lw=0.8)
    both.set(title=f"Answers, {label}", xlabel=names[0], ylabel=names[1])
    for name, answered, colour in zip(names, (first, second), (FIRST, SECOND), strict=True):
        residuals.scatter(true, answered - true, s=14, alpha=0.6, label=name, color=colour)
    residuals.axhline(0, color=TEXT, lw=0.8)
    residuals.set(title="Residuals", xlabel="true value" if known else names[0])
    residuals.legend(frameon=False)
    return svg(figure)
