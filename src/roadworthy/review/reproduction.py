"""Whether a release can be made again, byte for byte, from its tag."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roadworthy.bundles import bundle, releases
from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import call
from roadworthy.data import git
from roadworthy.models import contract


@dataclass(frozen=True)
class Reproduction:
    """What came of making a release again.

    Parameters
    ----------
    tag, commit
        Which release, and the commit it was made from.
    expected, found
        The digests of the release and of what was made again.
    differences
        The files and packages that differ, as sentences.
    """

    tag: str
    commit: str
    expected: str
    found: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether it is the same bundle."""
        return self.expected == self.found

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"same": self.same}


def reproduce(settings: Settings, model: str, number: int) -> Reproduction:
    """Make the bundle of a release again in a scratch directory and compare.

    The code, the data and the parameters are those of the release's commit; the interpreter and
    the packages are the ones at hand.
    """
    tag = f"{model}-v{number}"
    with (
        tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch,
        releases.fetch(settings, model, tag) as released,
    ):
        place = Path(scratch)
        commit = released.manifest.commit
        pointer = contract.load(model).data
        with releases.origin(settings, released.manifest, pointer) as (repository, raw):
            code = git.export(repository, commit, place / "code")
            arguments: list[str | Path] = [
                model,
                raw,
                place / "bundle",
                commit,
                released.manifest.data_hash,
            ]
            found = call(
                [sys.executable, "-m", _module(code / "src"), *arguments],
                cwd=place,
                environment={
                    "PYTHONPATH": str(code / "src"),
                    "PWD": os.fspath(place),
                    "ROADWORTHY_CANDIDATE": released.manifest.candidate,
                },
                remedy=f"The code of {commit[:12]} does not run with the packages at hand.",
            )
        made = bundle.read(place / "bundle")
        return Reproduction(tag, commit, released.digest, found, _differences(released, made))


def _module(src: Path) -> str:
    """Return the module by which the code of a commit rebuilds: older commits have it elsewhere."""
    former = src / "roadworthy" / "rebuild.py"
    return "roadworthy.rebuild" if former.exists() else "roadworthy.training.rebuild"


def _differences(released: bundle.Bundle, made: bundle.Bundle) -> tuple[str, ...]:
    then, now = released.manifest, made.manifest
    packages = [
        f"{name} was {version}, is {now.packages.get(name, 'not there')}"
        for name, version in then.packages.items()
        if now.packages.get(name) != version
    ]
    files = [
        f"{name} differs" for name, digest in then.files.items() if now.files.get(name) != digest
    ]
    return (*packages, *files)
