"""The model bundle: the one thing that passes from training to serving.

A bundle is a directory that is never changed. ``manifest.json`` is written last and holds the
sha256 of every other file; the sha256 of the manifest is the bundle's digest, its name. With the
bundle alone a server answers requests, a gate re-evaluates and a monitor finds drift.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from roadworthy.core import stored
from roadworthy.core.errors import RoadworthyError
from roadworthy.models.agreement import Agreement, Columns, Tolerance, agree
from roadworthy.models.routes import Route

MANIFEST = "manifest.json"
MODEL = "model.onnx"
ESTIMATOR = "model.joblib"
GOLDEN = "golden.json"
PROFILE = "profile.json"
CARD = "card.md"
FIGURES = "figures"
FORMAT = 1


class BundleError(RoadworthyError):
    """A bundle is not what its manifest says, or there is none."""


@dataclass(frozen=True)
class Manifest:
    """The description of a bundle.

    Parameters
    ----------
    model
        The model's name.
    commit
        The Git commit that the bundle was made from.
    data_hash
        The hash by which DVC knows the raw data.
    candidate, parameters
        Which of the model's candidates it is.
    metrics
        Of cross-validation and of the hold-out, by name.
    request, answer
        The JSON schema of one request and of one answer, with units.
    packages
        The versions of the packages that training used.
    files
        The sha256 of every other file, by its path in the bundle.
    tolerance
        ``relative`` and ``absolute`` by answer field: when two answers are the same. A bundle of
        before it was written has none, which means the default.
    task, title
        The model's task, and its name for people.
    routes
        Its GET addresses.
    """

    model: str
    commit: str
    data_hash: str
    candidate: str
    parameters: Mapping[str, int | float | str]
    metrics: Mapping[str, float]
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    packages: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    tolerance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    task: str = "regression"
    title: str = ""
    routes: tuple[Route, ...] = ()

    @property
    def tolerances(self) -> dict[str, Tolerance]:
        """The tolerance of each answer field that has its own."""
        return {name: Tolerance(**limits) for name, limits in self.tolerance.items()}


@dataclass(frozen=True)
class Golden:
    """Requests of the hold-out, and the answers that the estimator gave at training time.

    ``tolerance`` is how far an answer may differ from them, by field.
    """

    requests: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)

    def agreement(self, answers: Columns) -> Agreement:
        """Return how far other answers to these requests differ."""
        names = self.answers[0] if self.answers else ()
        expected = {name: [answer.get(name) for answer in self.answers] for name in names}
        return agree(expected, answers, self.tolerance)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its manifest says. Get one from :func:`read`."""

    path: Path
    manifest: Manifest
    digest: str

    @cached_property
    def golden(self) -> Golden:
        """The golden batch."""
        raw = json.loads((self.path / GOLDEN).read_bytes())
        return Golden(raw["requests"], raw["answers"], self.manifest.tolerances)

    @cached_property
    def profile(self) -> dict[str, Any]:
        """Distributions of features, target and prediction, and the model's page."""
        profile: dict[str, Any] = json.loads((self.path / PROFILE).read_bytes())
        return profile

    @property
    def graph(self) -> bytes:
        """The ONNX graph."""
        return (self.path / MODEL).read_bytes()

    @property
    def figures(self) -> dict[str, bytes]:
        """The PNG figures by name."""
        return {
            file.stem: file.read_bytes() for file in sorted((self.path / FIGURES).glob("*.png"))
        }


def write(target: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle and return it. The target appears whole or not at all.

    Parameters
    ----------
    target
        The directory to make. One that is there is replaced.
    manifest
        Everything but ``files``, which is filled in.
    files
        The content of each file by its path in the bundle.
    """
    hashes = {path: sha256(content).hexdigest() for path, content in sorted(files.items())}
    body = encode(asdict(manifest) | {"files": hashes})
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    for path, content in files.items():
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_bytes(content)
    (scratch / MANIFEST).write_bytes(body)
    _replace(target, scratch)
    return read(target)


def read(path: Path, digest: str | None = None) -> Bundle:
    """Return the bundle in a directory, after checking the hash of every file.

    Parameters
    ----------
    path
        The directory.
    digest
        The digest that the bundle must have, where it is known. Without it a change to the manifest
        itself goes unnoticed.

    Raises
    ------
    BundleError
        There is no bundle, it is of another format or digest, or a file is missing, changed or too
        many.
    """
    try:
        body = (path / MANIFEST).read_bytes()
        raw = json.loads(body)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is not a model bundle: it has no {MANIFEST}. Name the directory of a bundle, "
            f"or make one with `roadworthy run`."
        ) from error
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    if isinstance(raw, dict) and raw.get("format", FORMAT) != FORMAT:
        raise BundleError(
            f"The bundle {path} is of format {raw['format']}, this program reads {FORMAT}. "
            f"Use the version of roadworthy that made it."
        )
    try:
        manifest = stored.decode(Manifest, body)
    except ValueError as error:
        raise _unreadable(path, error) from error
    found = sha256(body).hexdigest()
    if digest not in {None, found}:
        raise BundleError(
            f"The bundle {path} has the digest {found[:12]}, not {digest[:12]}. "
            f"Fetch the bundle again."
        )
    _check_files(path, manifest.files)
    return Bundle(path, manifest, found)


def encode(value: Any) -> bytes:
    """Return a value as JSON that is the same, byte for byte, for equal values."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _replace(target: Path, scratch: Path) -> None:
    """Put the scratch directory in the target's place; what was there goes last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    former = scratch.with_name(f"{scratch.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        target.rename(former)
    scratch.rename(target)
    shutil.rmtree(former, ignore_errors=True)


def _unreadable(path: Path, error: Exception) -> BundleError:
    return BundleError(
        f"The {MANIFEST} of {path} cannot be read ({error}). Fetch the bundle again."
    )


def _check_files(path: Path, expected: Mapping[str, str]) -> None:
    found = {
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and file != path / MANIFEST
    }
    for name, digest in expected.items():
        if name not in found:
            raise BundleError(f"The bundle {path} lacks {name}. Fetch the bundle again.")
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            raise BundleError(
                f"The file {name} of the bundle {path} cannot be read ({error}). "
                f"Fetch the bundle again."
            ) from error
        if sha256(content).hexdigest() != digest:
            raise BundleError(
                f"In the bundle {path} the file {name} is not the one that was written: its sha256 "
                f"differs from the manifest's. Fetch the bundle again."
            )
    if strange := sorted(found - set(expected)):
        raise BundleError(
            f"The bundle {path} holds files that its manifest does not name: "
            f"{', '.join(strange)}. Fetch the bundle again."
        )
