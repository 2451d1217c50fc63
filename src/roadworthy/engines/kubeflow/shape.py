"""Whether an answer has the shape that Kubeflow's API says: its client takes any, and guesses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import kfp_server_api

_LIST, _DICT = re.compile(r"list\[(.*)\]"), re.compile(r"dict\([^,]*, (.*)\)")
_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "V2beta1Experiment": ("experiment_id",),
    "V2beta1Pipeline": ("pipeline_id", "display_name"),
    "V2beta1PipelineVersion": ("pipeline_version_id",),
    "V2beta1RecurringRun": ("recurring_run_id",),
    "V2beta1Run": ("run_id", "display_name", "created_at"),
}
"""The fields without which nothing can be done with it."""
_OF_TEXT = ("str", "datetime")


class ShapeError(ValueError):
    """A value of an answer is of another kind than the API says."""


def check(value: Any, kind: str, name: str = "the answer") -> None:
    """See that a value of an answer is of its kind.

    Parameters
    ----------
    value
        As JSON has it. Null is a field that is left out, as most may be, but nothing in a list.
    kind
        As ``kfp_server_api`` writes it, e.g. ``list[V2beta1Run]``.
    name
        What the value is called, for the error.

    Raises
    ------
    ShapeError
        It is of another kind.
    """
    if found := _LIST.fullmatch(kind):
        _demand(isinstance(value, list), name, "a list")
        for one in value:
            check(one, found[1], f"one of {name}")
    elif found := _DICT.fullmatch(kind):
        _demand(isinstance(value, dict), name, "an object")
        for key, one in value.items():
            check(one, found[1], key)
    elif kind in _OF_TEXT:
        _demand(isinstance(value, str), name, "a text")
    elif fields := getattr(getattr(kfp_server_api, kind, None), "openapi_types", None):
        model = getattr(kfp_server_api, kind)
        _demand(isinstance(value, dict), name, "an object")
        for field in _ALWAYS.get(kind, ()):
            _demand(value.get(field) is not None, f"{field} of {name}", "there")
        for field, inner in fields.items():
            of = model.attribute_map[field]
            if value.get(of) is not None:
                check(value[of], inner, of)


def _demand(well: bool, name: str, kind: str) -> None:
    if not well:
        raise ShapeError(f"{name} is not {kind}")
