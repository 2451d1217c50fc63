"""Write the pages of docs/reference that are made from the code: reference.py [--check].

With ``--check`` nothing is written, and the exit code is 1 where a page is not up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from typer.main import get_command

from roadworthy.cli import main
from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.settings import KubeflowSettings
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.serving.__main__ import parser

PAGES = Path(__file__).with_name("reference")


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {
        "settings.md": "\n".join(_settings()),
        "commands.md": "\n".join(_commands()),
        "exit-codes.md": "\n".join(_exit_codes()),
        "server-options.md": "\n".join(_server_options()),
    }


def run(*, check: bool) -> int:
    """Write the pages, or compare them; return the exit code."""
    stale = []
    for name, text in pages().items():
        file = PAGES / name
        if check and (not file.exists() or file.read_text() != text):
            stale.append(name)
        elif not check:
            file.write_text(text)
    if stale:
        sys.stderr.write(f"Not up to date: {', '.join(stale)}. Run `make docs`.\n")
    return 1 if stale else 0


def _settings() -> Iterator[str]:
    yield from (
        "# Settings",
        "",
        "Each setting is an environment variable. The defaults are the embedded ones: everything",
        "is under `.roadworthy/` at the root of the clone. S3 reads its own variables",
        "(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...), MLflow reads",
        "`MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`. Words in brackets say what an",
        "empty value means.",
    )
    for title, kind in (
        ("General", Settings),
        ("KServe", KServeSettings),
        ("Kubeflow Pipelines", KubeflowSettings),
    ):
        yield from ("", f"## {title}", "", "| variable | default | description |")
        yield "| --- | --- | --- |"
        yield from _variables(kind)
    yield ""


def _variables(kind: type[BaseSettings]) -> Iterator[str]:
    prefix = str(kind.model_config.get("env_prefix", ""))
    for name, field in kind.model_fields.items():
        default = field.default
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        shown = "none" if default in ("", None, PydanticUndefined) else f"`{default}`"
        yield _row(f"`{prefix}{name.upper()}`", shown, field.description or "")


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "`roadworthy COMMAND --help` shows the same. Exit codes: [exit codes](exit-codes.md)."
    group = get_command(main.app)
    for path, command in _flat(group, ()):
        yield from ("", f"## roadworthy {' '.join(path)}", "", _sentence(command.help), "")
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        usage = " ".join(["roadworthy", *path, "[OPTIONS]", *(_usage(one) for one in arguments)])
        yield from ("```", usage, "```")
        told = [one for one in command.params if _help(one) and one.name != "help"]
        if told:
            yield from ("", "| option | default | description |", "| --- | --- | --- |")
            for one in told:
                name = (one.name or "").upper() if one in arguments else ", ".join(_flags(one))
                yield _row(f"`{name}`", _default(one), _help(one))
        if command.epilog:
            examples = command.epilog.removeprefix("Examples:").removeprefix("Example:")
            lines = [line for line in examples.strip().split("    ") if line.strip()]
            yield from ("", "```sh", *(line.strip() for line in lines), "```")
    yield ""


def _flat(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with its words."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _flat(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _usage(argument: Any) -> str:
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> Iterable[str]:
    return (*option.opts, *option.secondary_opts)


def _help(parameter: Any) -> str:
    return str(getattr(parameter, "help", "") or "")


def _default(parameter: Any) -> str:
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    if parameter.required:
        return "required"
    default = parameter.default
    if callable(default) or default in (None, False, "", ()):
        return "none"
    return f"`{default}`"


def _exit_codes() -> Iterator[str]:
    yield from ("# Exit codes", "", "Every command ends with one of these.", "")
    yield from ("| code | meaning |", "| ---: | --- |")
    yield from (_row(str(int(code)), code.meaning) for code in ExitCode)
    yield ""


def _server_options() -> Iterator[str]:
    yield from (
        "# Options of the model server",
        "",
        "`python -m roadworthy.serving` is the server of a container; `roadworthy serve` starts",
        "the same server with the defaults.",
        "",
        "| option | description, with the default in brackets |",
        "| --- | --- |",
    )
    for action in parser()._actions:
        if action.option_strings and action.help and action.dest not in ("help", "supervised"):
            told = action.help.replace("%(default)s", str(action.default))
            yield _row(f"`{action.option_strings[0]}`", told)
    yield ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


if __name__ == "__main__":
    sys.exit(run(check="--check" in sys.argv[1:]))
