"""The versions that a server holds, and how new ones come in without a request noticing.

A request reads one reference, :attr:`Fleet.held`, and keeps what it got to its end. A new version
is read, checked and tried in the background; then that reference is replaced.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from roadworthy.bundles import bundle as bundles
from roadworthy.bundles.bundle import Bundle, BundleError, Manifest
from roadworthy.bundles.scoring import Scorer, Stop
from roadworthy.core.errors import RoadworthyError
from roadworthy.models import tensors
from roadworthy.models.tensors import FieldType, SchemaError
from roadworthy.routing import routes
from roadworthy.routing.routes import VERSION_HEADER, Release, Routing
from roadworthy.serving.models.circuit_breaker import DEFAULT_PATIENCE, Patience, Trial
from roadworthy.serving.models.validation import RequestSchema

_GOLDEN_SECONDS = 10.0
"""How long a version may take to answer its golden batch."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Served:
    """One version that answers. Get one from :func:`load`.

    ``page`` is what the model adds to its page, ``points`` what bundles had in its place before,
    ``predictions`` how the answers of training were distributed, by output.
    """

    release: Release
    manifest: Manifest
    points: Mapping[str, Any]
    predictions: Mapping[str, Any]
    scorer: Scorer
    schema: RequestSchema
    page: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The version's number."""
        return self.release.version

    @cached_property
    def answer(self) -> Mapping[str, FieldType]:
        """The fields of an answer by name."""
        return tensors.parse(self.manifest.answer)

    @cached_property
    def header(self) -> tuple[bytes, bytes]:
        """The header by which an answer names its version."""
        return VERSION_HEADER.encode(), str(self.version).encode()


class Part(NamedTuple):
    """A version's part of the traffic, in percent."""

    served: Served
    role: Literal["champion", "challenger"]
    weight: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON; ``share`` is the weight's name of before, kept for one release."""
        number, weight = self.served.version, self.weight
        return {"version": number, "role": self.role, "weight": weight, "share": weight}


@dataclass(frozen=True)
class Held:
    """The versions of one model that a server holds.

    ``weight``, ``shadow`` and ``state`` are the routing file's; ``trial`` is the challenger's.
    """

    model: str
    champion: Served | None = None
    challenger: Served | None = None
    weight: int = 0
    shadow: bool = False
    state: str = ""
    trial: Trial | None = None
    turns: Iterator[int] = field(default_factory=itertools.count, compare=False)

    @property
    def split(self) -> list[Part]:
        """Who answers a request that asks for no version, and how often."""
        weight = self.weight if self.challenger is not None else 0
        parts = []
        if self.champion is not None:
            parts.append(Part(self.champion, "champion", 100 - weight))
        if self.challenger is not None:
            parts.append(Part(self.challenger, "challenger", weight))
        return parts

    def is_challengers_turn(self) -> bool:
        """Return whether the challenger is to answer the next request, evenly spread."""
        return bool(self.weight) and next(self.turns) * self.weight % 100 < self.weight

    @property
    def versions(self) -> dict[str, Served]:
        """What is held, by version."""
        served = [one for one in (self.champion, self.challenger) if one is not None]
        return {str(one.version): one for one in reversed(served)}


class Fleet:
    """Every model that a server holds.

    Parameters
    ----------
    patience
        What is borne with a challenger.

    Attributes
    ----------
    held
        What is held, by model. It is replaced, never changed: read it once per request.
    leaving
        Whether the server is about to stop: then it is not ready, and answers what it is asked.
    """

    def __init__(self, patience: Patience = DEFAULT_PATIENCE) -> None:
        self.held: Mapping[str, Held] = {}
        self.leaving = False
        self._patience = patience
        self._refused: dict[tuple[str, int], str] = {}
        self._routing: dict[str, Routing] = {}

    @property
    def ready(self) -> bool:
        """Whether a champion is loaded, of whichever model, and the server stays."""
        return not self.leaving and any(held.champion is not None for held in self.held.values())

    def follow(self, routing: Routing) -> bool:
        """Hold what is on a routing file, and return whether all of it is held.

        What is refused is logged, once for each reason, and what is held stays.
        """
        self._routing[routing.model] = routing
        before = self.held.get(routing.model, Held(routing.model))
        champion = self._succeed(before, routing.champion, before.champion)
        challenger = self._succeed(before, routing.challenger, None)
        self.hold(
            Held(
                routing.model,
                champion,
                challenger,
                weight=routing.weight,
                shadow=routing.shadow,
                state=routing.state,
                trial=None if challenger is None else Trial(challenger.scorer, self._patience),
            )
        )
        if champion is not None and not _is_same(champion, before.champion):
            log.info("Version %s of %s answers.", champion.version, routing.model)
        found = [one and one.release for one in (champion, challenger)]
        return found == [routing.champion, routing.challenger]

    def refusals(self, model: str) -> dict[int, str]:
        """Return why versions deployed of a model are not held, by version."""
        routing = self._routing.get(model, Routing(model))
        found = {
            release.version: self._refused.get((model, release.version), "")
            for release in (routing.champion, routing.challenger)
            if release is not None
        }
        return {version: why for version, why in found.items() if why}

    def hold(self, held: Held) -> None:
        """Hold these versions of a model from the next request on."""
        self.held = {**self.held, held.model: held}

    def _succeed(self, held: Held, release: Release | None, before: Served | None) -> Served | None:
        if release is None:
            return None
        for known in (held.champion, held.challenger):
            if known is not None and _names(known) == (release.version, release.digest):
                return replace(known, release=release)
        try:
            served = load(held.model, release)
        except RoadworthyError as error:
            self._tell(held.model, release, before, str(error))
            return before
        self._refused.pop((held.model, release.version), None)
        log.info("Version %s of %s is loaded.", release.version, held.model)
        return served

    def _tell(self, model: str, release: Release, before: Served | None, why: str) -> None:
        if self._refused.get((model, release.version)) != why:
            self._refused[model, release.version] = why
            stays = "nothing" if before is None else f"version {before.version}"
            log.error(
                "Version %s of %s is refused, %s stays: %s", release.version, model, stays, why
            )


class Watcher:
    """Follows the routing files in a directory, in a thread of its own.

    Parameters
    ----------
    fleet
        What follows the routing files.
    directory
        Where the routing files are.
    seconds
        How long to wait between two looks.
    retry_seconds
        How long to wait before a file with a bundle that was refused is followed anew: what was
        wrong may pass, such as a disk that is slow to show all files.
    """

    def __init__(
        self, fleet: Fleet, directory: Path, seconds: float, *, retry_seconds: float = 5.0
    ) -> None:
        self._retry_seconds = retry_seconds
        self._retry: dict[str, float] = {}
        self._fleet = fleet
        self._directory = directory
        self._seconds = seconds
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="routing-watcher", daemon=True)

    def start(self) -> None:
        """Go on looking in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A bundle that is being loaded is left to the end of the process."""
        self._stopping.set()

    def look(self) -> None:
        """Follow every routing file that changed since the last look, or was not held whole."""
        for model in routes.models(self._directory):
            try:
                stamp = _stamp(self._directory / f"{model}.json")
                now = time.monotonic()
                if self._seen.get(model) == stamp and now < self._retry.get(model, math.inf):
                    continue
                self._seen[model] = stamp
                self._retry[model] = now + self._retry_seconds
                if self._fleet.follow(routes.read(self._directory, model)):
                    del self._retry[model]
            except (RoadworthyError, OSError) as error:
                # A damaged file is as damaged on the next look: only a new one is worth reading.
                self._retry.pop(model, None)
                log.error("%s What is deployed of %s stays.", error, model)  # noqa: TRY400

    def look_at(self, model: str, *, forget: bool = False) -> None:
        """Follow one routing file now, whether or not it is as it was.

        Parameters
        ----------
        model
            The model's name. Nothing happens if it never had a routing file.
        forget
            Whether a file that is gone is one without versions. Otherwise what is held stays.

        Raises
        ------
        RoutingError
            The routing file is damaged.
        """
        with self._looking:
            there = model in routes.models(self._directory)
            if there or (forget and model in self._fleet.held):
                self._fleet.follow(routes.read(self._directory, model))

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                with self._looking:
                    self.look()
            except Exception:
                # a thread that dies here would leave the server on this version for ever
                log.exception("The routing files in %s could not be followed.", self._directory)


def load(model: str, release: Release) -> Served:
    """Return a version that has answered its golden batch as it did when it was trained.

    Raises
    ------
    BundleError
        The bundle is not the released one, is not what its manifest says, or answers otherwise.
    """
    bundle = _read(Path(release.bundle))
    if bundle.digest != release.digest:
        raise BundleError(
            f"The bundle {release.bundle} has the digest {bundle.digest[:12]}, but version "
            f"{release.version} of {model} was released as {release.digest[:12]}. "
            f"Fetch the released bundle again."
        )
    return _tried(model, release, bundle)


def fixed(path: Path, version: int, since: str) -> Held:
    """Return what a server holds that serves one bundle for as long as it lives.

    Raises
    ------
    BundleError
        As :func:`load`.
    """
    bundle = _read(path)
    model = bundle.manifest.model
    release = Release(version, str(path), bundle.digest, since)
    return Held(model, _tried(model, release, bundle))


def _read(path: Path) -> Bundle:
    try:
        return bundles.read(path)
    except OSError as error:
        raise BundleError(
            f"The bundle {path} cannot be read ({error}). Let the server read all of its files."
        ) from error


def _tried(model: str, release: Release, bundle: Bundle) -> Served:
    if bundle.manifest.model != model:
        raise BundleError(
            f"The bundle {bundle.path} is of the model {bundle.manifest.model}, not of {model}. "
            f"Release a bundle of {model}."
        )
    try:
        _check_answers(bundle)
        schema = RequestSchema(bundle.manifest.request)
        scorer = Scorer(bundle.graph)
        _check_columns(bundle, schema, scorer)
        _check_golden(bundle, schema, scorer)
        points, predictions, page = (
            bundle.profile.get(part, {}) for part in ("points", "prediction", "page")
        )
        return Served(release, bundle.manifest, points, predictions, scorer, schema, page)
    except RoadworthyError:
        raise
    except Exception as error:
        # whatever a graph or a schema makes the runtime raise, the answer is not to serve it
        raise BundleError(
            f"The bundle {bundle.path} cannot be served ({type(error).__name__}: {error}). "
            f"Train the model again with the packages of this server."
        ) from error


def _names(served: Served) -> tuple[int, str]:
    return served.version, served.release.digest


def _is_same(served: Served, other: Served | None) -> bool:
    return other is not None and _names(served) == _names(other)


def _check_columns(bundle: Bundle, schema: RequestSchema, scorer: Scorer) -> None:
    if set(schema.fields) != set(scorer.inputs):
        raise BundleError(
            f"In the bundle {bundle.path} the request has the fields {sorted(schema.fields)} but "
            f"the graph takes {sorted(scorer.inputs)}. Export the model again."
        )


def _check_answers(bundle: Bundle) -> None:
    """Check that the answer's schema is one that the protocols can describe."""
    try:
        fields = tensors.parse(bundle.manifest.answer)
    except SchemaError as error:
        raise BundleError(f"The answer of the bundle cannot be served. {error}") from error
    for name, kind in fields.items():
        if kind.image is not None:
            raise BundleError(f"The answer {name} is an image. Answer with numbers or labels.")


def _check_golden(bundle: Bundle, schema: RequestSchema, scorer: Scorer) -> None:
    golden = bundle.golden
    columns = schema.columns(schema.rows(golden.requests))
    stop = Stop()
    timer = threading.Timer(_GOLDEN_SECONDS, stop.now)
    timer.start()
    try:
        found = scorer.score(columns, stop)
    except Exception as error:
        if not timer.is_alive():
            raise BundleError(
                f"The bundle {bundle.path} does not answer its golden batch within "
                f"{_GOLDEN_SECONDS:g} s. Release a version that answers sooner."
            ) from error
        raise
    finally:
        timer.cancel()
    agreement = golden.agreement(found)
    if not agreement.agrees:
        raise BundleError(
            f"The bundle {bundle.path} does not answer its golden batch as when it was trained: "
            f"{agreement}. Train it again with the packages of this server."
        )


def _stamp(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
