"""Preview a candidate: the gate's verdict on the model of a clone, before anything is released.

The steps of the pipeline up to the gate run in a scratch directory; nothing is recorded, registered
or pushed. Code and ``.dvc`` file are those of the work tree: uncommitted changes are part of it and
are listed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import roadworthy
from roadworthy.bundles import releases
from roadworthy.bundles.bundle import Manifest
from roadworthy.core import pages
from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git, validation
from roadworthy.data.access import Access
from roadworthy.models import contract
from roadworthy.models.contract import Model, Scores, UnknownModelError
from roadworthy.review.comparison import metric_lines, number, signed
from roadworthy.steps.evaluate import evaluate
from roadworthy.steps.gate import judge, released
from roadworthy.steps.prepare import Counts, prepare_raw
from roadworthy.steps.train import train
from roadworthy.steps.training import Tried
from roadworthy.tracking.registry import Registry, RegistryError
from roadworthy.training.gate import Verdict
from roadworthy.training.parameters import Change

_FORMAT = 1
# What Markdown or HTML would take for markup. A `_` within a word is none, and names have many.
_SPECIAL = re.compile(r"([\\`*|<>\[\]~@&#]|(?<![^\W_])_|_(?![^\W_]))")


class PreviewError(RoadworthyError):
    """A candidate cannot be previewed."""


@dataclass(frozen=True)
class Opponent:
    """The version that a candidate is compared with.

    Parameters
    ----------
    tag, found
        The tag of its release, and what makes it this version.
    name
        Which of the model's candidates it was.
    scores
        Its scores on the candidate's hold-out; None where these rows lack an input of it.
    """

    tag: str
    found: str
    name: str
    commit: str
    data_hash: str
    scores: Scores | None


@dataclass(frozen=True)
class Difference:
    """The raw data against the opponent's.

    Parameters
    ----------
    added, removed
        How many rows are new and how many are removed; a changed row counts as both.
    problem
        Why that is unknown, in a sentence; empty where it is known.
    """

    added: int = 0
    removed: int = 0
    problem: str = ""

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.problem:
            return f"It is unknown how many rows differ: {self.problem}"
        if not self.added and not self.removed:
            return "The rows are the same."
        return f"{self.added} rows are new and {self.removed} are removed."


@dataclass(frozen=True)
class Preview:
    """A candidate and the gate's verdict on it. Get one from :func:`preview`.

    Parameters
    ----------
    commit, changes
        The clone's commit, and its paths with uncommitted changes, which are part of the candidate.
    data_hash, rows, counts
        The hash by which DVC knows the raw data, its rows, and how many of them went where.
    name, digest
        Which of the model's candidates was chosen, and the digest of its bundle.
    candidates, metrics
        What cross-validation found of every candidate, and the metrics to compare them by.
    scores
        Its scores on the hold-out.
    behaviour
        The names of the behavioural checks among the verdict's.
    opponent, difference
        What it is compared with, and the raw data against the opponent's; None before the first
        release.
    notes
        Further sentences for the reader.
    """

    model: str
    commit: str
    changes: tuple[str, ...]
    data_hash: str
    rows: int
    counts: Counts
    name: str
    digest: str
    candidates: dict[str, Tried]
    metrics: tuple[str, ...]
    verdict: Verdict
    scores: Scores
    error: str
    behaviour: tuple[str, ...]
    opponent: Opponent | None
    difference: Difference | None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The exit status of the command."""
        return ExitCode.DONE if self.verdict.passed else ExitCode.GATE

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values; numbers that are not finite are None."""
        facts = {"format": _FORMAT, "exit_code": int(self.exit_code)}
        plain: dict[str, Any] = pages.finite(
            asdict(self) | facts | {"verdict": self.verdict.to_dict()}
        )
        return plain

    def to_markdown(self) -> str:
        """Return it as Markdown, ready to be a comment of a merge request."""
        champion = self.opponent.scores if self.opponent else None
        names = self.opponent.tag if self.opponent else "", "candidate"
        scores = champion or Scores({}, {}), self.scores
        lines = metric_lines(contract.load(self.model).criteria, names, scores)
        made_of = [
            (word, getattr(self, field), getattr(self.opponent, field, ""))
            for word, field in (("candidate", "name"), ("commit", "commit"), ("data", "data_hash"))
        ]
        return _markdown(of=self, champion=champion, lines=lines, made_of=made_of)


def preview(
    settings: Settings,
    directory: Path,
    model: str,
    *,
    candidate: str = "",
    changes: Sequence[Change] = (),
    tell: Callable[[str], object] = str,
) -> Preview:
    """Return the candidate that the clone around a directory makes, and the gate's verdict on it.

    It is compared with the registry's champion; where the registry has none or does not answer,
    with the latest release that the Git remote has a tag of; else with nothing.

    Parameters
    ----------
    candidate
        The name of the only candidate to try; empty to try them all and choose the best.
    changes
        Other values for parameters of candidates.
    tell
        Called with a sentence after each candidate.

    Raises
    ------
    PreviewError
        There is no such model, or the running code is not the clone's.
    DataError
        The raw data violates its schema.
    GitError, DvcError, BundleError
        The clone, its data or the release to compare with does not exist.
    """
    clone = git.inspect(directory)
    _check_code(clone.root)
    try:
        chosen = contract.load(model)
    except UnknownModelError as error:
        raise PreviewError(str(error)) from error
    version, found, notes = _opponent(settings, model)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        place = Path(scratch)
        data_hash = dvc.content_hash(clone.root / chosen.data)
        raw = _pull(settings, clone.root, chosen.data, place / "data")
        notes = (*notes, *dvc.warnings(clone.root, chosen.data))
        halves = {"train": place / "train", "test": place / "test"}
        counts = prepare_raw(model, raw, **halves)
        training = train(
            *(model, halves["train"]),
            target=place / "trained",
            candidate=candidate,
            changes=changes,
            tell=tell,
        )
        packed = place / "bundle"
        evaluated = evaluate(
            model,
            trained=place / "trained",
            **halves,
            commit=clone.commit,
            data_hash=data_hash,
            target=packed,
        )
        opponent, difference = None, None
        with released(settings, model, version) as champion:
            judged = judge(
                model, packed=packed, test=halves["test"], champion=champion, number=version
            )
            if champion is not None:
                made_of = champion.manifest
                opponent = Opponent(
                    tag=f"{model}-v{version}",
                    found=found,
                    name=made_of.candidate,
                    commit=made_of.commit,
                    data_hash=made_of.data_hash,
                    scores=judged.champion,
                )
                difference = Difference()
                if made_of.data_hash != data_hash:
                    difference = _difference(settings, chosen, made_of, raw)
        return Preview(
            model=model,
            commit=clone.commit,
            changes=clone.changes,
            data_hash=data_hash,
            rows=counts.rows,
            counts=counts,
            name=training.candidate,
            digest=evaluated.digest,
            candidates=training.candidates,
            metrics=tuple(training.metrics),
            verdict=judged.verdict,
            scores=judged.candidate,
            error=chosen.criteria.error,
            behaviour=tuple(check.name for check in evaluated.evaluation.checks),
            opponent=opponent,
            difference=difference,
            notes=notes,
        )


def refusal(model: str, problem: RoadworthyError) -> str:
    """Return the Markdown that says why there is no preview of a candidate."""
    return _markdown(of=None, model=model, problem=str(problem))


def escaped(text: object) -> str:
    """Return a text as one line that a Markdown table shows unchanged."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _check_code(root: Path) -> None:
    """Refuse to preview a clone with the code of another one."""
    running = Path(roadworthy.__file__).resolve()
    if not running.is_relative_to(root.resolve()):
        raise PreviewError(
            f"The code that runs is {running.parent}, not that of the clone {root}: run "
            f"`make .venv/.installed` there, and then its own .venv/bin/roadworthy."
        )


def _opponent(settings: Settings, model: str) -> tuple[int, str, tuple[str, ...]]:
    """Return the version to compare with, 0 for none, what makes it this one, and notes."""
    notes: tuple[str, ...] = ()
    try:
        champion = (
            Registry.of(settings).aliased(model, "champion") if settings.has_registry else None
        )
    except RegistryError as error:
        champion, notes = None, (f"The champion is unknown. {error}",)
    if champion:
        return champion.number, "the champion of the registry", notes
    return _latest(settings, model), "the latest release of the Git remote", notes


def _latest(settings: Settings, model: str) -> int:
    embedded = settings.embedded_remote
    if embedded is not None and not embedded.exists():
        return 0
    pattern = re.compile(rf"{re.escape(model)}-v([0-9]+)")
    found = (pattern.fullmatch(tag) for tag in git.tags(settings.git_remote, Access.of(settings)))
    return max((int(match[1]) for match in found if match), default=0)


def _pull(settings: Settings, root: Path, pointer: str, scratch: Path) -> Path:
    """Fetch the raw data of a clone's ``.dvc`` file outside of the clone, which is only read."""
    scratch.mkdir()
    git.git("init", "--quiet", cwd=scratch)
    for name in (".dvc/config", pointer):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(root / name, scratch / name)
        except FileNotFoundError as error:
            raise PreviewError(
                f"{root} has no {name}: make it with `dvc init` or `dvc add`."
            ) from error
    dvc.configure(scratch, remote=settings.dvc_remote, url=settings.dvc_remote_url)
    return dvc.pull(scratch, pointer)


def _difference(settings: Settings, chosen: Model, made_of: Manifest, raw: Path) -> Difference:
    try:
        with releases.origin(settings, made_of, chosen.data) as (_, former):
            before = _rows(validation.read(chosen, former))
    except (git.GitError, dvc.DvcError, validation.DataError) as error:
        return Difference(problem=str(error))
    now = _rows(validation.read(chosen, raw))
    return Difference((now - before).total(), (before - now).total())


def _rows(frame: pd.DataFrame) -> Counter[tuple[Any, ...]]:
    """Return how often each row occurs, whatever the order of the columns."""
    ordered = frame[sorted(frame.columns)].astype(str)
    return Counter(ordered.itertuples(index=False, name=None))


def _markdown(**values: Any) -> str:
    filters = {"text": escaped, "number": number, "signed": signed}
    # Not HTML: the template puts each text through `escaped`.
    return pages.render("roadworthy.review", "preview.md.j2", filters, autoescape=False, **values)
