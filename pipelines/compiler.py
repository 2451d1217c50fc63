"""Compiles the production pipeline to the YAML that is run and submitted.

``python -m pipelines.compiler [--check] [--image IMAGE] [--output FILE] MODEL...``, in the root of
the repository.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from components import IMAGE  # its import of Kubernetes' client comes before that of kfp

# isort: split
import yaml
from kfp import compiler

from pipelines.production import production
from roadworthy.engines.kubeflow.image import ImageError, pinned

_WIDTH, _SHORT = 240, 150


def compiled(model: str, image: str = IMAGE) -> str:
    """Return the YAML of a model's pipeline, its steps in an image.

    It is what KFP writes, in a form that can be reviewed: code as lines, small mappings in one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(production(model, image), str(target))
        text = target.read_text()
    comments = [line for line in text.splitlines(keepends=True) if line.startswith("#")]
    documents = yaml.dump_all(
        yaml.safe_load_all(text), Dumper=_Dumper, default_flow_style=False, width=_WIDTH
    )
    return "".join([*comments, documents])


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such, and a short list or mapping in one line."""

    def represent_scalar(self, tag: str, value: str, style: str | None = None) -> yaml.ScalarNode:
        """Return the node of a text, a number or a boolean."""
        return super().represent_scalar(tag, value, "|" if "\n" in value else style)

    def represent_sequence(self, tag: str, value: Any, flow_style: bool | None = None) -> yaml.Node:
        """Return the node of a list."""
        return super().represent_sequence(tag, value, flow_style or _is_short(value))

    def represent_mapping(self, tag: str, value: Any, flow_style: bool | None = None) -> yaml.Node:
        """Return the node of a mapping."""
        return super().represent_mapping(tag, value, flow_style or _is_short(value))


def _is_short(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    is_flat = not any(isinstance(one, dict | list) or "\n" in str(one) for one in inner)
    return is_flat or len(str(value)) <= _SHORT


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, say what is old")
    parser.add_argument("--image", default=IMAGE, help="of the steps, by digest or commit")
    parser.add_argument("--output", type=Path, help="the file, of one model")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    if options.output and len(options.models) > 1:
        parser.error("--output is of one model: name it")
    try:
        image = pinned(options.image)
    except ImageError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    status = 0
    for model in options.models:
        target = options.output or Path("pipelines") / f"{model}.yaml"
        if not options.check:
            content = compiled(model, image)
            try:
                target.write_text(content)
            except OSError as error:
                sys.stderr.write(
                    f"Error: {target} cannot be written ({error.strerror}): name with --output a "
                    f"file in a directory that is there and has room.\n"
                )
                return 1
            sys.stdout.write(f"Compiled {target}\n")
        elif not target.exists() or target.read_text() != compiled(model, image):
            sys.stderr.write(f"{target} is not up to date: run `roadworthy compile {model}`.\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
