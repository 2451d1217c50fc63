"""Figures as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST, SECOND, TEXT = "#8a5a00", "#2563a8", "#000000"
_COLOURS = {FIRST: "var(--first)", SECOND: "var(--second)", TEXT: "currentColor"}
"""What takes the place of a colour in a page, which has a light and a dark scheme."""


def png(figure: Figure) -> bytes:
    """Return the figure without the date and program that would make its bytes differ."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """Return the figure as an SVG element, whose bytes are the same for the same figure.

    It has no ground of its own, and its colours :data:`FIRST`, :data:`SECOND` and :data:`TEXT`, the
    default of lines and words, become those of the page.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "roadworthy"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return text[text.index("<svg") :]
