"""Compiles the production pipeline to the YAML that is run and submitted.

``python -m pipelines.compiler [--check] [--image IMAGE] [--output FILE] MODEL...``, in the root of
the repository.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from components import IMAGE  # its import of Kubernetes' client comes before that of kfp

# isort: split
from kfp import compiler

from pipelines.production import production
from roadworthy.engines.kubeflow.image import ImageError, pinned


def compile_pipeline(model: str, target: Path, image: str = IMAGE) -> None:
    """Write the compiled pipeline of a model, its steps in an image, to a file."""
    compiler.Compiler().compile(production(model, image), str(target))


def is_current(model: str, target: Path, image: str = IMAGE) -> bool:
    """Return whether a file equals a fresh compilation."""
    return target.exists() and target.read_bytes() == _compiled(model, image)


def _compiled(model: str, image: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "fresh.yaml"
        compile_pipeline(model, fresh, image)
        return fresh.read_bytes()


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
            content = _compiled(model, image)
            try:
                target.write_bytes(content)
            except OSError as error:
                sys.stderr.write(
                    f"Error: {target} cannot be written ({error.strerror}): name with --output a "
                    f"file in a directory that is there and has room.\n"
                )
                return 1
            sys.stdout.write(f"Compiled {target}\n")
        elif not is_current(model, target, image):
            sys.stderr.write(f"{target} is not up to date: run `roadworthy compile {model}`.\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
