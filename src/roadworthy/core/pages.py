"""Render pages in HTML and Markdown, and make values fit for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jinja2


def render(
    package: str,
    template: str,
    filters: Mapping[str, Callable[..., str]],
    *,
    autoescape: bool = True,
    **values: Any,
) -> str:
    """Return one page that needs nothing else, from a template of a package.

    Parameters
    ----------
    package, template
        Where the template is, and its file.
    filters
        What the template calls beside Jinja's own filters.
    autoescape
        Whether what it shows is escaped as HTML wants it. In Markdown the filters do that.
    values
        What it shows. One that it names and does not get is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=autoescape,  # noqa: S701 - the caller's filters escape what is not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def number(value: float | None, unknown: str = "not a number") -> str:
    """Return a number with four digits, as a power of ten only where it is very large or small."""
    if value is None or math.isnan(value):
        return unknown
    return f"{value:.4g}" if value == 0 or 1e-4 <= abs(value) < 1e4 else f"{value:.2e}"


def finite(value: Any) -> Any:
    """Return a value in which what is not a finite number is None, as JSON has none."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
