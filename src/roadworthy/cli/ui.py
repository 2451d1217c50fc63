"""The command ``roadworthy ui``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.terminal import MODELS, console
from roadworthy.data.workplace import settings_here

if TYPE_CHECKING:
    from roadworthy.core.settings import Settings

_PORT = 5000
_START_SECONDS = 300.0
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.1


class PageError(RoadworthyError):
    """MLflow's page cannot be shown."""


def mount(app: typer.Typer) -> None:
    """Add this command to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy ui    roadworthy ui --no-open --port 5001",
        rich_help_panel=MODELS,
    )(ui)


def ui(
    *,
    port: Annotated[
        int | None, typer.Option(help="The port of the page.", show_default="5000, or a free one")
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
) -> None:
    """Show MLflow's page on the registry and the experiments of this clone, until Ctrl-C."""
    from roadworthy.core import ports

    settings = settings_here(Path.cwd())
    if settings.mlflow_tracking_uri.startswith(("http://", "https://")):
        _show(settings.mlflow_tracking_uri, show=show)
        return
    if not settings.has_registry:
        raise PageError("There is nothing to show yet: `roadworthy run MODEL` makes a first run.")
    if port is not None:
        ports.require_free(port)
    with _server(settings, port or ports.free_port(_PORT)) as (url, process):
        _show(url, show=show)
        process.wait()
    raise PageError(f"MLflow's server ended; look at {_log(settings)}.")


def _show(url: str, *, show: bool) -> None:
    console.print(f"MLflow: {url}", soft_wrap=True, markup=False)
    has_display = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
    if show and has_display:  # elsewhere a browser for terminals would take this one
        webbrowser.open(url)


@contextmanager
def _server(settings: Settings, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's server while the block runs."""
    store = ("--backend-store-uri", settings.mlflow_tracking_uri)
    artifacts = ("--default-artifact-root", settings.mlflow_artifacts)
    with _log(settings).open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", *store, *artifacts),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            # Jobs, which nothing here uses, would take processes of their own.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, settings)
        yield url, process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], settings: Settings) -> None:
    import httpx

    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.HTTPError:
            time.sleep(_POLL_SECONDS)
    raise PageError(f"MLflow's server did not start; look at {_log(settings)}.")


def _log(settings: Settings) -> Path:
    return settings.home / "mlflow-ui.log"
