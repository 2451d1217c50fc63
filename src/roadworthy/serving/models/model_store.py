"""The model versions that a server has loaded, and how it replaces them without losing a request.

A request reads one reference, :attr:`ModelStore.models`, and keeps what it got until it ends. A new
version is read, checked and tested in the background; then that reference is replaced.
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
from roadworthy.serving.models.circuit_breaker import DEFAULT_LIMITS, BreakerLimits, CircuitBreaker
from roadworthy.serving.models.get_route import GetRoute, read_routes
from roadworthy.serving.models.validation import RequestSchema

_STEP = 61
"""The step between turns: of those without a common factor with 100 the next to the golden ratio's,
which spreads a sequence best (Knuth, The Art of Computer Programming, section 6.4)."""
_GOLDEN_SECONDS = 10.0
"""The time-out of a version's golden batch."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """One version that is ready to answer. :func:`load` returns one.

    ``page`` is the model's part of its page, ``points`` is the same in older bundles,
    ``predictions`` is the distribution of the training predictions by output, and ``routes`` are
    its GET addresses by path.
    """

    release: Release
    manifest: Manifest
    points: Mapping[str, Any]
    predictions: Mapping[str, Any]
    scorer: Scorer
    schema: RequestSchema
    page: Mapping[str, Any] = field(default_factory=dict)
    routes: Mapping[str, GetRoute] = field(default_factory=dict)

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
        """The response header that names this version."""
        return VERSION_HEADER.encode(), str(self.version).encode()


class Part(NamedTuple):
    """A version's part of the traffic, in percent."""

    loaded: LoadedVersion
    role: Literal["champion", "challenger"]
    weight: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON. ``share`` is the former name of the weight, kept for one release."""
        number, weight = self.loaded.version, self.weight
        return {"version": number, "role": self.role, "weight": weight, "share": weight}


@dataclass(frozen=True)
class ModelVersions:
    """The loaded versions of one model.

    ``weight``, ``shadow`` and ``state`` come from the routing file. ``breaker`` is the
    challenger's.
    """

    name: str
    champion: LoadedVersion | None = None
    challenger: LoadedVersion | None = None
    weight: int = 0
    shadow: bool = False
    state: str = ""
    breaker: CircuitBreaker | None = None
    turns: Iterator[int] = field(default_factory=itertools.count, compare=False)

    @property
    def split(self) -> list[Part]:
        """The versions that answer requests for no particular version, with their weights."""
        weight = self.weight if self.challenger is not None else 0
        parts = []
        if self.champion is not None:
            parts.append(Part(self.champion, "champion", 100 - weight))
        if self.challenger is not None:
            parts.append(Part(self.challenger, "challenger", weight))
        return parts

    def is_challengers_turn(self) -> bool:
        """Return whether the challenger answers the next request.

        Its turns are spread evenly, and also over every second, fourth, fifth or tenth request: so
        clients that send different requests in turn send both versions some of each.
        """
        return bool(self.weight) and next(self.turns) * _STEP % 100 < self.weight

    @property
    def versions(self) -> dict[str, LoadedVersion]:
        """The loaded versions by number."""
        loaded = [one for one in (self.champion, self.challenger) if one is not None]
        return {str(one.version): one for one in reversed(loaded)}


class ModelStore:
    """All models that a server has loaded.

    Parameters
    ----------
    limits
        The limits of challengers.

    Attributes
    ----------
    models
        The loaded versions by model. It is replaced, never changed: read it once per request.
    stopping
        Whether the server is about to stop. It is then not ready, and still answers requests.
    """

    def __init__(self, limits: BreakerLimits = DEFAULT_LIMITS) -> None:
        self.models: Mapping[str, ModelVersions] = {}
        self.stopping = False
        self._limits = limits
        self._refused: dict[tuple[str, int], str] = {}
        self._routing: dict[str, Routing] = {}

    @property
    def ready(self) -> bool:
        """Whether the champion of any model is loaded, and the server is not about to stop."""
        return not self.stopping and any(model.champion for model in self.models.values())

    def apply(self, routing: Routing) -> bool:
        """Load the versions of a routing file. Return whether all of them are loaded.

        A refused version is logged, once for each reason, and the version before it stays.
        """
        self._routing[routing.model] = routing
        before = self.models.get(routing.model, ModelVersions(routing.model))
        champion = self._resolve(before, routing.champion, before.champion)
        challenger = self._resolve(before, routing.challenger, None)
        self.put(
            ModelVersions(
                routing.model,
                champion,
                challenger,
                weight=routing.weight,
                shadow=routing.shadow,
                state=routing.state,
                breaker=CircuitBreaker(challenger.scorer, self._limits) if challenger else None,
            )
        )
        if champion and (before.champion is None or _key(champion) != _key(before.champion)):
            log.info("Version %s of %s answers.", champion.version, routing.model)
        found = [one and one.release for one in (champion, challenger)]
        return found == [routing.champion, routing.challenger]

    def refusals(self, model: str) -> dict[int, str]:
        """Return why deployed versions of a model are not loaded, by version."""
        routing = self._routing.get(model, Routing(model))
        found = {
            release.version: self._refused.get((model, release.version), "")
            for release in (routing.champion, routing.challenger)
            if release is not None
        }
        return {version: why for version, why in found.items() if why}

    def put(self, model: ModelVersions) -> None:
        """Use these versions of a model from the next request on."""
        self.models = {**self.models, model.name: model}

    def _resolve(
        self, model: ModelVersions, release: Release | None, before: LoadedVersion | None
    ) -> LoadedVersion | None:
        """Return the loaded version of a release, or the one before if it is refused."""
        if release is None:
            return None
        for known in (model.champion, model.challenger):
            if known is not None and _key(known) == (release.version, release.digest):
                return replace(known, release=release)
        key = (model.name, release.version)
        try:
            loaded = load(model.name, release)
        except RoadworthyError as error:
            if self._refused.get(key) != str(error):
                self._refused[key] = str(error)
                stays = "nothing" if before is None else f"version {before.version}"
                message = "Version %s of %s is refused, %s stays: %s"
                log.error(message, release.version, model.name, stays, error)  # noqa: TRY400
            return before
        self._refused.pop(key, None)
        log.info("Version %s of %s is loaded.", release.version, model.name)
        return loaded


class Watcher:
    """Applies the routing files of a directory, in a thread of its own.

    Parameters
    ----------
    store
        The store that loads the versions.
    directory
        The directory of the routing files.
    seconds
        The time between two polls.
    retry_seconds
        The time until a routing file with a refused bundle is applied again. The cause may have
        passed, such as a disk that is slow to show all files.
    """

    def __init__(
        self, store: ModelStore, directory: Path, seconds: float, *, retry_seconds: float = 5.0
    ) -> None:
        self._retry_seconds = retry_seconds
        self._retry: dict[str, float] = {}
        self._store = store
        self._directory = directory
        self._seconds = seconds
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._polling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="routing-watcher", daemon=True)

    def start(self) -> None:
        """Poll in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling. A bundle that is being loaded is abandoned."""
        self._stopping.set()

    def poll(self) -> None:
        """Apply every routing file that changed, or whose versions are not all loaded."""
        for model in routes.models(self._directory):
            try:
                stamp = _stamp(self._directory / f"{model}.json")
                now = time.monotonic()
                if self._seen.get(model) == stamp and now < self._retry.get(model, math.inf):
                    continue
                self._seen[model] = stamp
                self._retry[model] = now + self._retry_seconds
                if self._store.apply(routes.read(self._directory, model)):
                    del self._retry[model]
            except (RoadworthyError, OSError) as error:
                # A damaged file stays damaged until it is replaced, so it is not read again.
                self._retry.pop(model, None)
                log.error("%s The deployed versions of %s stay.", error, model)  # noqa: TRY400

    def refresh(self, model: str, *, forget: bool = False) -> None:
        """Apply one routing file now, whether or not it changed.

        Parameters
        ----------
        model
            The model's name. Nothing happens if it never had a routing file.
        forget
            Whether to unload the versions of a model whose routing file was deleted.

        Raises
        ------
        RoutingError
            The routing file is damaged.
        """
        with self._polling:
            exists = model in routes.models(self._directory)
            if exists or (forget and model in self._store.models):
                self._store.apply(routes.read(self._directory, model))

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                with self._polling:
                    self.poll()
            except Exception:
                # if this thread ended, the server would keep its versions for ever
                log.exception("The routing files in %s could not be applied.", self._directory)


def load(model: str, release: Release) -> LoadedVersion:
    """Return a version whose answers to its golden batch are those of its training.

    Raises
    ------
    BundleError
        The bundle is not the released one, does not match its manifest, or answers differently.
    """
    bundle = _read(Path(release.bundle))
    if bundle.digest != release.digest:
        raise BundleError(
            f"The bundle {release.bundle} has the digest {bundle.digest[:12]}, but version "
            f"{release.version} of {model} was released as {release.digest[:12]}. "
            f"Fetch the released bundle again."
        )
    return _load(model, release, bundle)


def fixed(path: Path, version: int, since: str) -> ModelVersions:
    """Return the versions of a server that serves one bundle only.

    Raises
    ------
    BundleError
        As :func:`load`.
    """
    bundle = _read(path)
    model = bundle.manifest.model
    release = Release(version, str(path), bundle.digest, since)
    return ModelVersions(model, _load(model, release, bundle))


def _read(path: Path) -> Bundle:
    try:
        return bundles.read(path)
    except OSError as error:
        raise BundleError(
            f"The bundle {path} cannot be read ({error}). Let the server read all of its files."
        ) from error


def _load(model: str, release: Release, bundle: Bundle) -> LoadedVersion:
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
        return LoadedVersion(
            *(release, bundle.manifest, points, predictions, scorer, schema, page),
            routes=read_routes(bundle.manifest, schema),
        )
    except RoadworthyError:
        raise
    except Exception as error:
        # whatever error a graph or a schema causes, the version must not be served
        raise BundleError(
            f"The bundle {bundle.path} cannot be served ({type(error).__name__}: {error}). "
            f"Train the model again with the packages of this server."
        ) from error


def _key(loaded: LoadedVersion) -> tuple[int, str]:
    return loaded.version, loaded.release.digest


def _check_columns(bundle: Bundle, schema: RequestSchema, scorer: Scorer) -> None:
    if set(schema.fields) != set(scorer.inputs):
        raise BundleError(
            f"In the bundle {bundle.path} the request has the fields {sorted(schema.fields)} but "
            f"the graph takes {sorted(scorer.inputs)}. Export the model again."
        )


def _check_answers(bundle: Bundle) -> None:
    """Check that the protocols can describe the answer's schema."""
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
