"""Three tiny models of other kinds than a regression on a table, as another distribution has them.

They stand in ``tests/models_for_tests``: a classifier with labels, a detector on lists of free
length and a classifier of images.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle
from roadworthy.models import contract
from roadworthy.steps.evaluate import evaluate
from roadworthy.steps.prepare import prepare_raw
from roadworthy.steps.train import train

NAMES = ("ripeness", "shapes", "spikes")


@dataclass(frozen=True)
class Made:
    """A model, the hold-out as a step gets it, and the bundle of what was trained."""

    model: Any
    test: Path
    bundle: Bundle


@pytest.fixture(scope="session")
def models_for_tests(root: Path, once: Callable[..., Path]) -> Path:
    """A directory into which the models are installed."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    source = root / "tests" / "models_for_tests"

    def make(target: Path) -> None:
        subprocess.run([*command, "--no-build-isolation", "--target", target, source], check=True)

    return once("models", make)


@pytest.fixture(scope="module")
def installed_models(models_for_tests: Path) -> Iterator[Path]:
    """The models, which the tests of one module find beside those of the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(models_for_tests)
        yield models_for_tests


@pytest.fixture(scope="module")
def made_of(installed_models: Path, once: Callable[..., Path]) -> Callable[[str], Made]:
    """Return a function that takes a model from raw data to its bundle by the pipeline's steps."""

    def made(name: str) -> Made:
        model: Any = contract.load(name)

        def make(place: Path) -> None:
            place.mkdir()
            model.generate(place / "raw")
            rows = {"train": place / "train", "test": place / "test"}
            prepare_raw(name, place / "raw", **rows)
            train(name, rows["train"], target=place / "trained")
            told = {"commit": "c" * 40, "data_hash": "d" * 32}
            evaluate(name, trained=place / "trained", **rows, **told, target=place / "bundle")

        place = once(name, make)
        return Made(model, place / "test", bundle.read(place / "bundle"))

    return made
