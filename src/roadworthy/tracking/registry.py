"""The registry: MLflow's runs, versions, and the aliases ``champion`` and ``challenger``."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

import filelock
import tenacity
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import mlflow_tags
from sqlalchemy.exc import SQLAlchemyError

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import s3

Alias = Literal["champion", "challenger"]

_CONNECT_SECONDS = 10.0
_CHECK = "Check ROADWORTHY_MLFLOW_TRACKING_URI and that it runs"
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    **s3.PATIENCE,
}
"""The timeouts of MLflow, which otherwise retries for minutes. It reads the environment only."""
_QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_DUPLICATE = ("duplicate key value", "UNIQUE constraint failed", "Duplicate entry")
"""The messages of PostgreSQL, SQLite and MySQL for a duplicate row."""
_ATTEMPTS = 5
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class RegistryError(RoadworthyError):
    """The registry does not have the requested version, or cannot be reached."""


@dataclass(frozen=True)
class Version:
    """One version of a model in the registry.

    ``tags`` hold its origin and its history: ``digest``, ``commit``, ``data_hash``,
    ``source_fingerprint``, ``candidate``, ``gate``, ``promoted_by``, ``promoted_at`` and more.
    """

    model: str
    number: int
    run_id: str
    created: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def git_tag(self) -> str:
        """The tag of its release: ``NAME-v3``."""
        return f"{self.model}-v{self.number}"


def source_tags(repository: str, commit: str) -> dict[str, str]:
    """Return the tags by which MLflow's pages show the source of a run and link to it."""
    return {
        mlflow_tags.MLFLOW_SOURCE_NAME: repository,
        mlflow_tags.MLFLOW_SOURCE_TYPE: "PROJECT",
        mlflow_tags.MLFLOW_GIT_REPO_URL: repository,
        mlflow_tags.MLFLOW_GIT_COMMIT: commit,
    }


def _is_race(error: BaseException) -> bool:
    """Return whether another process inserted the same row at the same time."""
    told = str(error)
    return isinstance(error, MlflowException) and any(word in told for word in _DUPLICATE)


def _told(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Raise a :class:`RegistryError` for MLflow's errors. Retry where two inserted the same row."""
    ask = tenacity.retry(
        retry=tenacity.retry_if_exception(_is_race),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random(0, 0.2),
        reraise=True,
    )(method)

    @wraps(method)
    def call(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return ask(*arguments, **named)
        except (MlflowException, SQLAlchemyError, *s3.failures()) as error:
            cause, remedy = _trouble(error)
            raise RegistryError(
                f"A request to the registry failed ({cause}). {remedy}, and run again: nothing is "
                f"recorded twice."
            ) from error

    return call


class Registry:
    """MLflow at a tracking address.

    Every method raises :class:`RegistryError` when MLflow fails or does not answer.

    Parameters
    ----------
    tracking_uri
        ``sqlite:///...`` or the address of an MLflow server.
    artifacts
        Where the artifacts of a new experiment go: a directory or an object store's address. A
        server, which does not know the directories of this machine, chooses the place itself.
    """

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the registry of the settings."""
        return cls(settings.mlflow_tracking_uri, settings.mlflow_artifacts)

    def __init__(self, tracking_uri: str, artifacts: str) -> None:
        for name, value in (_PATIENCE | _QUIET).items():
            os.environ.setdefault(name, value)
        served = tracking_uri.startswith(("http://", "https://"))
        self._artifacts = "" if served and "://" not in artifacts else artifacts
        try:
            with _reach(tracking_uri):
                self._client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
                self._client.search_experiments(max_results=1)
        except (MlflowException, SQLAlchemyError, OSError, ValueError) as error:
            cause, remedy = _trouble(error)
            raise RegistryError(
                f"The registry {_public(tracking_uri)} does not answer ({cause}). {remedy}."
            ) from error

    @_told
    def log_candidate(
        self,
        model: str,
        *,
        name: str,
        made_of: str,
        parameters: Mapping[str, float | str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        figures: Mapping[str, bytes],
    ) -> str:
        """Record a candidate as a run and return the run's id.

        Parameters
        ----------
        name
            The candidate's name.
        made_of
            A hash of all inputs of the candidate, which is recorded once for each hash.
        """
        experiment = self._experiment(model)
        found = self._client.search_runs(
            [experiment],
            f"tags.made_of = '{made_of}' and tags.candidate = '{name}'",
            ViewType.ACTIVE_ONLY,
            max_results=1,
        )
        if found and found[0].info.status == "FINISHED":
            return str(found[0].info.run_id)
        run = (
            found[0]
            if found
            else self._client.create_run(
                experiment, run_name=name, tags={"made_of": made_of, "candidate": name, **tags}
            )
        )
        run_id, started = str(run.info.run_id), int(run.info.start_time)
        # With the start of the run as its time, a metric is the same row when recorded again.
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, started, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in parameters.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        self.log_files(run_id, {f"figures/{key}.png": png for key, png in figures.items()})
        self._client.set_terminated(run_id)
        return run_id

    @_told
    def log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Add files to a run, each under its path."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                target = Path(scratch) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            if files:
                self._client.log_artifacts(run_id, scratch)

    @_told
    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a run; the same again are the same rows."""
        started = int(self._client.get_run(run_id).info.start_time)
        self._client.log_batch(
            run_id, metrics=[Metric(key, value, started, 0) for key, value in metrics.items()]
        )

    @_told
    def log_dataset(self, run_id: str, name: str, digest: str, commit: str) -> None:
        """Log the dataset of a run: its DVC hash, and the commit with its ``.dvc`` file."""
        dataset = Dataset(name, digest, "dvc", json.dumps({"commit": commit, "md5": digest}))
        context = [InputTag(mlflow_tags.MLFLOW_DATASET_CONTEXT, "training")]
        self._client.log_inputs(run_id, [DatasetInput(dataset, context)])

    @_told
    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    @_told
    def register(self, model: str, *, run_id: str, digest: str, tags: Mapping[str, str]) -> Version:
        """Register a version of a bundle, or return the existing one."""
        for version in self.versions(model):
            if version.tags.get("digest") == digest:
                return version
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        run = self._client.get_run(run_id)
        source = f"{run.info.artifact_uri}/bundles/{digest}"
        self._show_model(run, f"bundles/{digest}")
        made = self._client.create_model_version(
            model, source, run_id, tags={"digest": digest, **tags}
        )
        return self._first(model, digest, int(made.version))

    @_told
    def versions(self, model: str) -> list[Version]:
        """Return every version of a model, the newest first."""
        return self._listed(model, self._aliases(model))

    def version(self, model: str, number: int) -> Version:
        """Return one version.

        Raises
        ------
        RegistryError
            There is no such version.
        """
        return _numbered(self.versions(model), model, number)

    @_told
    def aliased(self, model: str, alias: Alias) -> Version | None:
        """Return the version that an alias names, or None."""
        aliases = self._aliases(model)
        number = next((n for n, names in aliases.items() if alias in names), None)
        if number is None:
            return None
        return _numbered(self._listed(model, aliases), model, number)

    def find(self, model: str, reference: str = "@champion") -> Version:
        """Return the version of a reference: ``@alias`` or ``:N``.

        Raises
        ------
        RegistryError
            There is none, or the reference is neither.
        """
        kind, word = reference[:1], reference[1:]
        if kind == ":" and word.isdecimal():
            return self.version(model, int(word))
        if kind == "@" and word in ("champion", "challenger"):
            version = self.aliased(model, word)  # type: ignore[arg-type]
            if version is None:
                raise RegistryError(
                    f"{model} has no {word} yet. `roadworthy run {model}` makes a first champion; "
                    f"`roadworthy models` lists what there is."
                )
            return version
        raise RegistryError(
            f"{model}{reference} names no version: write {model}, {model}@champion, "
            f"{model}@challenger or {model}:3."
        )

    @_told
    def metrics(self, version: Version) -> dict[str, float]:
        """Return the metrics of a version's run."""
        return dict(self._client.get_run(version.run_id).data.metrics)

    @_told
    def models(self) -> list[str]:
        """Return the names of the models that have versions of bundles, in alphabetical order.

        A registry may be shared with others: their models have no bundles.
        """
        return sorted({raw.name for raw in self._found("tags.digest LIKE '%'")})

    @_told
    def set_alias(self, version: Version, alias: Alias) -> None:
        """Set an alias to a version."""
        self._client.set_registered_model_alias(version.model, alias, str(version.number))

    @_told
    def drop_alias(self, model: str, alias: Alias) -> None:
        """Delete an alias."""
        self._client.delete_registered_model_alias(model, alias)

    @_told
    def model_tags(self, model: str) -> dict[str, str]:
        """Return the tags of a model; none if it is not registered."""
        try:
            return dict(self._client.get_registered_model(model).tags)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise

    @_told
    def set_model_tag(self, model: str, key: str, value: str) -> None:
        """Set a tag of a model."""
        self._client.set_registered_model_tag(model, key, value)

    @_told
    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(version.model, str(version.number), key, value)

    def _show_model(self, run: Run, path: str) -> None:
        """Name a model among the run's artifacts, for the column Models of MLflow's page."""
        shown = json.loads(run.data.tags.get(mlflow_tags.MLFLOW_LOGGED_MODELS, "[]"))
        model = {"run_id": run.info.run_id, "artifact_path": path, "flavors": {"onnx": {}}}
        model["utc_time_created"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        self._client.set_tag(
            run.info.run_id, mlflow_tags.MLFLOW_LOGGED_MODELS, json.dumps([*shown, model])
        )

    def _first(self, model: str, digest: str, made: int) -> Version:
        """Return the first version of a bundle, and delete ours if another was faster.

        Of two concurrent registrations, the later one sees both versions.
        """
        same = [version for version in self.versions(model) if version.tags.get("digest") == digest]
        first = min(same, key=lambda version: version.number)
        if first.number != made:
            self._client.delete_model_version(model, str(made))
        return first

    def _experiment(self, model: str) -> str:
        for _ in range(2):
            found = self._client.get_experiment_by_name(model)
            if found is not None:
                return str(found.experiment_id)
            try:
                location = f"{self._artifacts}/{model}" if self._artifacts else None
                return str(self._client.create_experiment(model, artifact_location=location))
            except MlflowException as error:  # another run created it at the same time
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                time.sleep(0.1)
        raise RegistryError(
            f"The experiment {model} was deleted in MLflow: restore it there, "
            f"or remove it for good."
        )

    def _listed(self, model: str, aliases: Mapping[int, list[str]]) -> list[Version]:
        """Return the versions, the newest first, with aliases that were read before them.

        In this order, each aliased version is among the versions.
        """
        versions = [self._version(raw, aliases) for raw in self._found(f"name = '{model}'")]
        return sorted(versions, key=lambda version: version.number, reverse=True)

    def _found(self, condition: str) -> Iterator[ModelVersion]:
        """Yield the versions that meet a condition, page by page."""
        token = None
        while True:
            page = self._client.search_model_versions(condition, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _aliases(self, model: str) -> dict[int, list[str]]:
        try:
            named = self._client.get_registered_model(model).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        aliases: dict[int, list[str]] = {}
        for alias, number in named.items():
            aliases.setdefault(int(number), []).append(alias)
        return aliases

    def _version(self, raw: Any, aliases: Mapping[int, list[str]]) -> Version:
        number = int(raw.version)
        return Version(
            model=raw.name,
            number=number,
            run_id=raw.run_id,
            created=datetime.fromtimestamp(raw.creation_timestamp / 1000, UTC),
            aliases=tuple(sorted(aliases.get(number, []))),
            tags=dict(raw.tags),
        )


def _numbered(versions: Sequence[Version], model: str, number: int) -> Version:
    for version in versions:
        if version.number == number:
            return version
    known = ", ".join(str(version.number) for version in versions) or "none"
    raise RegistryError(
        f"There is no version {number} of {model}; there are: {known}. "
        f"`roadworthy models` lists them."
    )


@contextmanager
def _reach(tracking_uri: str) -> Iterator[None]:
    """Open the registry in this context. Raise OSError if its server cannot be reached.

    MLflow itself would retry for minutes. A lock serialises the creation of SQLite tables.
    """
    address = urlsplit(tracking_uri)
    if address.scheme == "sqlite":
        file = Path(tracking_uri.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{file}.lock"):
            if not file.exists():
                _create(file)
            yield
        return
    if address.scheme in {"http", "https"} and address.hostname:
        port = address.port or {"http": 80, "https": 443}[address.scheme]
        socket.create_connection((address.hostname, port), _CONNECT_SECONDS).close()
    yield


def _create(database: Path) -> None:
    """Make an SQLite database beside its place: MLflow cannot go on with one that is half-made."""
    scratch = database.with_suffix(".new")
    for left in database.parent.glob(f"{scratch.name}*"):  # with its journal
        left.unlink()
    address = f"sqlite:///{scratch}"
    MlflowClient(address, registry_uri=address).search_experiments(max_results=1)
    scratch.rename(database)


def _public(tracking_uri: str) -> str:
    """Return an address without user and password."""
    scheme, slashes, rest = tracking_uri.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def _trouble(error: Exception) -> tuple[str, str]:
    """Return the cause of an error of MLflow, and the remedy, without full stops."""
    told = str(error)
    if known := s3.trouble(told):
        return known.cause, f"{known.remedy[:1].upper()}{known.remedy[1:]}"
    if "Invalid Host header" in told:
        return (
            "its server does not accept this host name",
            "Start it with `--allowed-hosts` and the host of ROADWORTHY_MLFLOW_TRACKING_URI",
        )
    if re.search(r"error code 40[13]\b|PERMISSION_DENIED|not authenticated", told):
        return (
            "it refuses the user",
            "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if "mlflow-artifacts" in told:
        return (
            "its server could not reach the store of its artifacts",
            "Check that store and the server's access to it, and see its log",
        )
    if found := re.search(r"too many (5\d\d) error responses", told):
        return f"it answered {found[1]} again and again", _CHECK
    return _cause(error), _CHECK


def _cause(error: Exception) -> str:
    """Return the first line of an error."""
    told = error.message if isinstance(error, MlflowException) else str(error)
    return next(iter(told.strip().splitlines()), type(error).__name__).rstrip(".")
