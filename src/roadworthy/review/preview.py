"""What the gate would say of the model that the clone at hand makes, before anything is released.

The steps of the pipeline up to the gate run here, in a scratch directory, and nothing is recorded,
registered or pushed. The code and the ``.dvc`` file are those of the clone as it stands: what is
not committed is part of it, and is named.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import roadworthy
from roadworthy.bundles import releases
from roadworthy.core import pages
from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git, validation
from roadworthy.data.access import Access
from roadworthy.models import contract
from roadworthy.models.contract import Check, Model, Scores, UnknownModelError
from roadworthy.steps.evaluate import evaluate
from roadworthy.steps.gate import judge, released
from roadworthy.steps.prepare import Counts, prepare
from roadworthy.steps.train import train
from roadworthy.training.gate import Verdict

_FORMAT = 1
_NO_DIFFERENCE = 1e-9
# What Markdown or HTML would take for something else than the text of a cell. Not a `_` within a
# word: it is nothing else there, and names are full of them.
_SPECIAL = re.compile(r"([\\`*|<>\[\]~@&#]|(?<![^\W_])_|_(?![^\W_]))")


class CandidacyError(RoadworthyError):
    """A candidate cannot be examined."""


@dataclass(frozen=True)
class Opponent:
    """The version that a candidate is compared with.

    Parameters
    ----------
    tag
        The tag of its release.
    found
        Why it is this version, in a few words.
    name
        Which of the model's candidates it was.
    commit, data_hash
        What it was made of.
    scores
        Its scores on the candidate's hold-out; None where its requests cannot be asked of those
        rows.
    """

    tag: str
    found: str
    name: str
    commit: str
    data_hash: str
    scores: Scores | None


@dataclass(frozen=True)
class Difference:
    """How the raw data differs from the opponent's.

    Parameters
    ----------
    added, removed
        How many rows are new, and how many are gone; a row that was changed counts as both.
    problem
        Why that is not known, in a sentence; empty where it is.
    """

    added: int = 0
    removed: int = 0
    problem: str = ""

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.problem:
            return f"It is not known how many rows differ: {self.problem}"
        if not self.added and not self.removed:
            return "The rows are the same."
        return f"{self.added} rows are new and {self.removed} are gone."


@dataclass(frozen=True)
class Candidacy:
    """A candidate and what the gate says of it. Get one from :func:`examine`.

    Parameters
    ----------
    commit, changes
        The clone's commit, and its paths with uncommitted changes, which are part of this.
    data_hash, rows, counts
        The hash by which DVC knows the raw data, its rows, and how many of them went where.
    name, digest
        Which of the model's candidates was chosen, and the digest of its bundle.
    scores
        Its scores on the hold-out.
    behaviour
        The names of the behavioural checks among the verdict's.
    opponent, difference
        What it is compared with, and how the data differs from that one's; None where there was no
        release yet.
    notes
        What a reader has to know besides, as sentences.
    """

    model: str
    commit: str
    changes: tuple[str, ...]
    data_hash: str
    rows: int
    counts: Counts
    name: str
    digest: str
    verdict: Verdict
    scores: Scores
    error: str
    behaviour: tuple[str, ...]
    opponent: Opponent | None
    difference: Difference | None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """What the command line ends with."""
        return ExitCode.DONE if self.verdict.passed else ExitCode.GATE

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values. What is not a finite number there is None."""
        told = asdict(self) | {
            "format": _FORMAT,
            "exit_code": int(self.exit_code),
            "verdict": self.verdict.to_dict(),
        }
        plain: dict[str, Any] = pages.finite(told)
        return plain

    def to_markdown(self) -> str:
        """Return it as Markdown, ready to be a comment of a merge request."""
        named = {check.name: check for check in self.verdict.checks}
        behaviour = [named[name] for name in self.behaviour if name in named]
        return _markdown(
            of=self,
            champion=self.opponent.scores if self.opponent else None,
            bounds=_by_metric(self.verdict.checks),
            behaviour=behaviour,
            nan=math.nan,
        )


def examine(settings: Settings, directory: Path, model: str) -> Candidacy:
    """Return the candidate that the clone around a directory makes, and the gate's verdict on it.

    It is compared with the registry's champion; where the registry has none or does not answer,
    with the latest release that the Git remote has a tag of; else with nothing.

    Raises
    ------
    CandidacyError
        There is no such model, or the code that runs is not the clone's.
    DataError
        The raw data does not keep its schema.
    GitError, DvcError, BundleError
        The clone, its data or the release to compare with is not there.
    """
    clone = git.inspect(directory)
    _check_at_hand(clone.root)
    chosen = _load(model)
    number, found, notes = _on_the_road(settings, model)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        place = Path(scratch)
        data_hash = dvc.content_hash(clone.root / chosen.data)
        raw = _pull(settings, clone.root, chosen.data, place / "data")
        halves = {"train": place / "train", "test": place / "test"}
        counts = prepare(model, raw, **halves)
        training = train(model, halves["train"], target=place / "trained")
        packed = place / "bundle"
        examined = evaluate(
            model,
            trained=place / "trained",
            **halves,
            commit=clone.commit,
            data_hash=data_hash,
            target=packed,
        )
        with released(settings, model, number) as champion:
            judged = judge(
                model, packed=packed, test=halves["test"], champion=champion, number=number
            )
        opponent, difference = None, None
        if champion is not None:
            made_of = champion.manifest
            opponent = Opponent(
                tag=f"{model}-v{number}",
                found=found,
                name=made_of.candidate,
                commit=made_of.commit,
                data_hash=made_of.data_hash,
                scores=judged.champion,
            )
            difference = _difference(settings, chosen, opponent, raw, data_hash)
        return Candidacy(
            model=model,
            commit=clone.commit,
            changes=clone.changes,
            data_hash=data_hash,
            rows=counts.rows,
            counts=counts,
            name=training.candidate,
            digest=examined.digest,
            verdict=judged.verdict,
            scores=judged.candidate,
            error=chosen.criteria.error,
            behaviour=tuple(check.name for check in examined.evaluation.checks),
            opponent=opponent,
            difference=difference,
            notes=notes,
        )


def refusal(model: str, problem: RoadworthyError) -> str:
    """Return the Markdown that says why a candidate could not be examined."""
    return _markdown(of=None, model=model, problem=str(problem))


def write(markdown: str, file: Path) -> None:
    """Write Markdown to a file.

    Raises
    ------
    CandidacyError
        It cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(markdown, encoding="utf-8")
    except OSError as error:
        raise CandidacyError(
            f"The report cannot be written to {file} ({error.strerror or error}): name another "
            f"file with --markdown."
        ) from error


def escaped(text: object) -> str:
    """Return a text that stands in a Markdown table as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def signed(value: float) -> str:
    """Return a difference with its sign; what is but the last digits of a sum is none."""
    if abs(value) < _NO_DIFFERENCE:
        return "0"
    return f"+{pages.number(value)}" if value > 0 else pages.number(value)


def _load(model: str) -> Model:
    try:
        return contract.load(model)
    except UnknownModelError as error:
        raise CandidacyError(str(error)) from error


def _check_at_hand(root: Path) -> None:
    """Refuse to call another clone's code a candidate of this one."""
    running = Path(roadworthy.__file__).resolve()
    if not running.is_relative_to(root.resolve()):
        raise CandidacyError(
            f"The code that runs is {running.parent}, not that of the clone {root}: run "
            f"`make .venv/.installed` there, and then its own .venv/bin/roadworthy."
        )


def _on_the_road(settings: Settings, model: str) -> tuple[int, str, tuple[str, ...]]:
    """Return the version to compare with, 0 for none, why it is that one, and notes."""
    from roadworthy.tracking.registry import RegistryError

    notes: tuple[str, ...] = ()
    try:
        champion = _registered(settings, model)
    except RegistryError as error:
        champion, notes = 0, (f"The champion is not known. {error}",)
    if champion:
        return champion, "the champion of the registry", notes
    latest = _latest(settings, model)
    return latest, "the latest release of the Git remote", notes


def _registered(settings: Settings, model: str) -> int:
    if not settings.has_registry:
        return 0
    from roadworthy.tracking.registry import Registry

    champion = Registry.of(settings).aliased(model, "champion")
    return champion.number if champion else 0


def _latest(settings: Settings, model: str) -> int:
    embedded = settings.embedded_remote
    if embedded is not None and not embedded.exists():
        return 0
    pattern = re.compile(rf"{re.escape(model)}-v([0-9]+)")
    found = (pattern.fullmatch(tag) for tag in git.tags(settings.git_remote, Access.of(settings)))
    return max((int(match[1]) for match in found if match), default=0)


def _pull(settings: Settings, root: Path, pointer: str, scratch: Path) -> Path:
    """Fetch the raw data of a clone's ``.dvc`` file beside the clone, which is only read."""
    scratch.mkdir()
    git.git("init", "--quiet", cwd=scratch)
    for name in (".dvc/config", pointer):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(root / name, scratch / name)
        except FileNotFoundError as error:
            raise CandidacyError(
                f"{root} has no {name}: make it with `dvc init` or `dvc add`."
            ) from error
    dvc.configure(scratch, remote=settings.dvc_remote, url=settings.dvc_remote_url)
    return dvc.pull(scratch, pointer)


def _difference(
    settings: Settings, chosen: Model, opponent: Opponent, raw: Path, data_hash: str
) -> Difference:
    if opponent.data_hash == data_hash:
        return Difference()
    try:
        with releases.source(settings, opponent.commit) as repository:
            if dvc.content_hash(repository / chosen.data) != opponent.data_hash:
                return Difference(problem=f"{opponent.tag} was made of another file.")
            before = validation.read(chosen, dvc.pull(repository, chosen.data))
    except (git.GitError, dvc.DvcError, validation.DataError) as error:
        return Difference(problem=str(error))
    former, now = _rows(before), _rows(validation.read(chosen, raw))
    return Difference((now - former).total(), (former - now).total())


def _rows(frame: pd.DataFrame) -> Counter[tuple[Any, ...]]:
    """Return how often each row is there. By the names of its columns: their order may differ."""
    ordered = frame[sorted(frame.columns)].astype(str)
    return Counter(ordered.itertuples(index=False, name=None))


def _by_metric(checks: tuple[Check, ...]) -> Mapping[str, list[Check]]:
    """Return what is demanded of each metric of the hold-out, also by the champion's."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        found.setdefault(check.name.removesuffix("_with_margin"), []).append(check)
    return found


def _markdown(**values: Any) -> str:
    filters: dict[str, Callable[..., str]] = {
        "text": escaped,
        "number": pages.number,
        "signed": signed,
    }
    # No HTML: the template puts each text through `escaped`.
    return pages.render("roadworthy.review", "preview.md.j2", filters, autoescape=False, **values)
