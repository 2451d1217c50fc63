"""Compiles the production pipeline to the YAML that is run and submitted.

``python -m pipelines.compiler [--check] MODEL...``, in the root of the repository.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from kfp import compiler

from pipelines.production import production


def compile_pipeline(model: str, target: Path) -> None:
    """Write the compiled pipeline of a model to a file."""
    compiler.Compiler().compile(production(model), str(target))


def is_current(model: str, target: Path) -> bool:
    """Return whether a file equals a fresh compilation."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / target.name
        compile_pipeline(model, fresh)
        return target.exists() and target.read_bytes() == fresh.read_bytes()


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, say what is old")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    status = 0
    for model in options.models:
        target = Path("pipelines") / f"{model}.yaml"
        if not options.check:
            compile_pipeline(model, target)
            sys.stdout.write(f"Compiled {target}\n")
        elif not is_current(model, target):
            sys.stderr.write(f"{target} is not up to date: run `roadworthy compile {model}`.\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
