"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from roadworthy.cli.rollout import named

Trigger = Literal["data", "feature", "maintenance", "manual"]
ModelName = Annotated[
    str, typer.Argument(help="The model, e.g. fuel.", show_default=False, callback=named)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
