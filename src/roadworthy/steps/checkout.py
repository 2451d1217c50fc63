"""Find which commit and data a run is made of, and whether there is anything new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from roadworthy.bundles import releases
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.models import contract
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine import starting
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.state import Strategy
from roadworthy.rollout.engine.target import Target
from roadworthy.tracking.champion import champion
from roadworthy.training.selection import named


class OlderCommitError(RoadworthyError):
    """The commit lacks what the champion was made of."""


@dataclass(frozen=True)
class Source:
    """What a run is made of.

    Parameters
    ----------
    commit, data_hash
        Of the code, and of the raw data.
    fingerprint
        The source fingerprint: a hash of both that a release does not change.
    champion
        The number of the deployed version, 0 when there is none.
    new
        Whether the champion was made of something else.
    behind
        That the commit lacks what the champion was made of, as a sentence; empty if it does not.
    """

    commit: str
    data_hash: str
    fingerprint: str
    champion: int
    new: bool
    behind: str = ""

    @property
    def source(self) -> dict[str, str]:
        """What does not depend on the champion, as plain values: an input of pure steps."""
        return {
            "commit": self.commit,
            "data_hash": self.data_hash,
            "fingerprint": self.fingerprint,
        }

    def __str__(self) -> str:
        """Return it for the terminal."""
        against = f"the champion is version {self.champion}" if self.champion else "no champion yet"
        told = against if self.new else f"nothing new since version {self.champion}"
        behind = f"; {self.behind}" if self.new and self.behind else ""
        return f"commit {self.commit[:12]}, data {self.data_hash[:12]}, {told}{behind}"


def checkout(
    settings: Settings,
    model: str,
    *,
    commit: str,
    force: bool,
    strategy: Strategy = "canary",
    candidate: str = "",
) -> Source:
    """Return what a run is made of.

    Parameters
    ----------
    commit
        A commit of the Git remote; empty for the tip of its branch.
    force
        Whether to call it new in any case.
    strategy
        How a new version is to be rolled out.
    candidate
        The candidate to register whatever wins, which is new in any case; empty for the best.

    Raises
    ------
    NoCandidateError
        The model has no such candidate.
    OlderCommitError
        The commit lacks what the champion was made of, and the settings refuse that.
    RolloutError
        There is something new, and the place where it is served cannot do the strategy.
    GitError
        The remote does not have the commit, or has other code there than that of the image which
        this runs in: what it makes would not be what the commit says.
    ConflictError
        MLflow names another champion than the one that is deployed.
    """
    chosen = contract.load(model)
    if candidate:
        named(chosen.candidates, candidate)
    served = targets.target(settings)
    with releases.source(settings, commit) as repository:
        found = git.git("rev-parse", "HEAD", cwd=repository)
        _check_code(repository, found, of_image=settings.commit, model=model)
        data_hash = dvc.content_hash(repository / chosen.data)
        source = compare(settings, served, model, repository, found, data_hash)
    source = replace(source, new=source.new or force or bool(candidate))
    if source.new:  # before anything is trained for nothing
        served.check(strategy)
        refuse_older(settings, source)
    return source


def refuse_older(settings: Settings, source: Source) -> None:
    """Refuse a commit that lacks what the champion was made of, where the settings say so.

    Raises
    ------
    OlderCommitError
        ``settings.older_commit`` is ``refuse``.
    """
    if source.behind and settings.older_commit == "refuse":
        raise OlderCommitError(
            f"{source.behind[:1].upper()}{source.behind[1:]}, and ROADWORTHY_OLDER_COMMIT refuses "
            f"that: run a commit that contains it, or set the variable to release."
        )


def compare(
    settings: Settings, served: Target, model: str, repository: Path, commit: str, data_hash: str
) -> Source:
    """Return what a run of a commit and its data is made of, compared with the champion.

    Raises
    ------
    ConflictError
        MLflow names another champion than the one that is deployed.
    """
    fingerprint = git.fingerprint(repository, commit, data_hash)
    number, made_of, before = champion(settings, model)
    moved = starting.conflict(served.records.read(model), number)
    if moved:
        raise ConflictError(moved)
    lack = git.lacks(repository, commit, before) if before else ""
    behind = f"commit {commit[:12]} is {lack} {before[:12]}, which the champion is made of"
    return Source(
        *(commit, data_hash, fingerprint, number),
        new=made_of != fingerprint,
        behind=behind if lack else "",
    )


def _check_code(repository: Path, commit: str, *, of_image: str, model: str) -> None:
    if of_image in ("", commit):
        return
    if not git.has_commit(repository, of_image):
        raise git.GitError(
            f"This image was built from commit {of_image[:12]}, which the Git remote does not "
            f"have: push it there, or run the image of a commit that it has."
        )
    if not git.is_same_code(repository, commit, of_image):
        raise git.GitError(
            f"The code of commit {commit[:12]} is not that of this image, which was built from "
            f"{of_image[:12]}: build the commit's image, and say `roadworthy submit {model}` there."
        )
