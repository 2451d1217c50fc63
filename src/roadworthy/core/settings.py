"""Every choice of place and address, from the environment (``ROADWORTHY_...``) or its default.

The defaults are the embedded ones: everything under ``.roadworthy/`` beside the clone. Settings are
read once, at the edge (a command, a component), and passed in.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.process_id import here

_SQLITE = "sqlite:///"
_ON_KSERVE = {
    "ready_seconds": 600.0,
    "stage_seconds": 120.0,  # in which Prometheus, too, reads the metrics several times
    "quiet_seconds": 60.0,
    "lease_seconds": 900.0,  # the pods of two steps of one run may be minutes apart
}
"""The defaults of times where versions are rolled out to KServe, from wherever that is done."""


class HomeError(RoadworthyError):
    """The home cannot be used."""


class TokenError(RoadworthyError, ValueError):
    """A token cannot be shown to anybody, whatever it opens."""


def presentable(token: SecretStr) -> SecretStr:
    """Return a token as a header holds it: without the white space around it, as files have it.

    Raises
    ------
    TokenError
        No header can hold it. What it is, is not told.
    """
    found = token.get_secret_value().strip()
    if not (found.isascii() and found.isprintable()):
        raise TokenError(
            "the token holds a line break, a control character or a letter beyond ASCII, which no "
            "header of HTTP can hold: copy it anew from where it was made"
        )
    return SecretStr(found)


class Settings(BaseSettings):
    """Where things are. Each field is the variable ``ROADWORTHY_<FIELD>``."""

    model_config = SettingsConfigDict(
        env_prefix="ROADWORTHY_", env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(Path(".roadworthy"), description="Directory of everything that runs write.")
    git_remote: str = Field(
        "", description="Git repository of code and releases. [home/remote.git]"
    )
    git_branch: str = Field("main", description="Its branch that releases are committed to.")
    git_user: str = Field("oauth2", description="The name that goes with the Git token.")
    git_token: SecretStr = Field(
        SecretStr(""), description="Token for the Git remote, over HTTPS. [git's own helpers]"
    )
    dvc_remote: str = Field("embedded", description="Name of the DVC remote in .dvc/config.")
    dvc_remote_url: str = Field("", description="Address in place of that remote's own.")
    mlflow_tracking_uri: str = Field("", description="MLflow. [sqlite in home/mlflow]")
    mlflow_artifacts: str = Field("", description="Artifacts of new experiments. [home/mlflow]")
    records: str = Field("", description="Where steps write their records (fsspec). [home/runs]")
    commit: str = Field(
        "", description="The commit whose code this is, as an image says it. [not known]"
    )
    image: str = Field(
        "", description="The image of the pipeline's steps on a cluster, by digest or commit."
    )
    target: Literal["local", "kserve"] = Field(
        "local", description="Where versions are rolled out: to the server here, or to KServe."
    )
    bundle_store: str = Field(
        "", description="Where KServe fetches bundles from, e.g. s3://bucket/bundles. [home/store]"
    )
    prometheus_url: str = Field(
        "", description="Prometheus, for the traffic stats of versions on KServe. [their pods]"
    )
    require_metrics: bool = Field(
        False, description="Whether a version without readable metrics gets no traffic."
    )
    serving_url: str = Field("http://127.0.0.1:8080", description="The model server.")
    actor: str = Field("", description="Who is named as promoting. [the login name]")
    ready_seconds: float = Field(
        30.0, gt=0, description="How long a version may take to load. [KServe: 600]"
    )
    stage_seconds: float = Field(
        10.0, ge=0, description="How long a stage of a rollout lasts. [KServe: 120]"
    )
    quiet_seconds: float = Field(
        0.5, ge=0, description="A stage without a request ends after so long. [KServe: 60]"
    )
    max_error_rate: float = Field(
        0.01, ge=0, le=1, description="The fraction of its requests that a challenger may fail."
    )
    max_p99_ratio: float = Field(
        2.0,
        gt=0,
        description="Median and 99th percentile of its model time may be so many times "
        "the champion's ...",
    )
    p99_allowance_ms: float = Field(0.005, ge=0, description="... and so many milliseconds more.")
    max_psi: float = Field(
        0.25, ge=0, description="The stability index of its predictions against the champion's."
    )
    max_difference: float = Field(
        0.25, ge=0, description="The mean relative difference from the champion's predictions."
    )
    min_requests: int = Field(20, ge=1, description="With fewer requests only errors are analysed.")
    lease_seconds: float = Field(
        15.0,
        gt=0,
        description="A rollout elsewhere whose owner is silent for so long is dead. [KServe: 900]",
    )
    abandoned_seconds: float = Field(
        5.0,
        ge=0,
        description="After so long the server takes the traffic from an abandoned rollout.",
    )
    older_commit: Literal["ask", "release", "refuse"] = Field(
        "ask",
        description="What to do with a commit that lacks what the champion was made of: `ask` does "
        "so at a terminal and releases it elsewhere.",
    )
    token: SecretStr = Field(
        SecretStr(""), description="Token that the model server requires of clients. [none]"
    )
    holder: str = Field("", description="The process that drives a rollout. [this one]")
    run: str = Field(
        "manual", description="The id of the run whose steps these are; an engine sets it."
    )

    @field_validator("git_token", "token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        return presentable(value)

    @model_validator(mode="after")
    def _fill(self) -> Self:
        """Derive what was left out from ``home``; make directories absolute, for the steps."""
        home = self.home.expanduser().resolve()
        derived = {
            "home": home,
            "git_remote": _absolute(self.git_remote) or str(_embedded_remote(home)),
            "dvc_remote_url": _absolute(self.dvc_remote_url),
            "mlflow_tracking_uri": self.mlflow_tracking_uri
            or f"{_SQLITE}{home / 'mlflow' / 'mlflow.db'}",
            "mlflow_artifacts": self.mlflow_artifacts or str(home / "mlflow" / "artifacts"),
            "bundle_store": _absolute(self.bundle_store) or str(home / "store"),
            "records": _absolute(self.records) or str(home / "runs"),
            "actor": self.actor or _login(),
            "holder": self.holder or here(),
        }
        if self.target == "kserve":
            unset = _ON_KSERVE.keys() - self.model_fields_set
            derived |= {field: _ON_KSERVE[field] for field in unset}
        for field, value in derived.items():
            object.__setattr__(self, field, value)
        return self

    @property
    def routing(self) -> Path:
        """The directory of the routing files, which the local server watches."""
        former = self.home / "road"  # of a home that the release before made
        made = self.home / "routing"
        return former if former.is_dir() and not made.is_dir() else made

    @property
    def latest(self) -> Path:
        """The directory with the newest request of each model, which the local server reads."""
        return self.routing / "latest"

    @property
    def bundles(self) -> Path:
        """The directory of the bundles that the local server reads, each named by its digest."""
        return self.home / "bundles"

    @property
    def embedded_remote(self) -> Path | None:
        """The Git remote, made or not, where it is the one in the home; None where it is not."""
        embedded = _embedded_remote(self.home)
        return embedded if self.git_remote == str(embedded) else None

    @property
    def has_registry(self) -> bool:
        """Whether there may be a registry: opening SQLite where none is would make one."""
        uri = self.mlflow_tracking_uri
        return not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).exists()

    @property
    def odd_signs(self) -> str:
        """What in the home's name means something else in an address of SQLite or DVC."""
        return " ".join(sorted(set("?%{}") & set(str(self.home))))

    def make_home(self) -> None:
        """Make the home, which Git is to ignore.

        Raises
        ------
        HomeError
            It cannot be written, or its name means something else in an address.
        """
        if odd := self.odd_signs:
            raise HomeError(
                f"{self.home} cannot be a home: {odd} means something in the "
                f"addresses of SQLite and DVC. Name another directory in ROADWORTHY_HOME."
            )
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            (self.home / ".gitignore").write_text("*\n")
        except OSError as error:
            raise HomeError(
                f"{self.home} cannot be written ({error.strerror}): name another directory in "
                f"ROADWORTHY_HOME."
            ) from error

    def environment(self) -> dict[str, str]:
        """Return the variables that make another process read these settings."""
        told = self.model_dump()
        for name, value in told.items():
            if isinstance(value, SecretStr):
                told[name] = value.get_secret_value()
        return {f"ROADWORTHY_{name.upper()}": str(value) for name, value in told.items()}


def _embedded_remote(home: Path) -> Path:
    return home / "remote.git"


def _absolute(address: str) -> str:
    """Return an address that means the same in every directory."""
    is_path = address.startswith((".", "~")) or Path(address).is_dir()
    return str(Path(address).expanduser().resolve()) if address and is_path else address


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"
