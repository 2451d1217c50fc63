"""Where Kubeflow Pipelines is, and the credentials: the variables ``ROADWORTHY_KFP_...``."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from roadworthy.core import environment
from roadworthy.core.environment import SettingsError
from roadworthy.core.settings import TokenError, presentable

_PREFIX = "ROADWORTHY_KFP_"


class KubeflowSettings(BaseSettings):
    """Where Kubeflow Pipelines is. Each field is the variable ``ROADWORTHY_KFP_<FIELD>``."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    url: str = Field("", description="Its API, without /apis/v2beta1.")
    ui_url: str = Field("", description="Its web pages. [url]")
    token: SecretStr = Field(SecretStr(""), description="The bearer token that the API requires.")
    token_path: FilePath | None = Field(
        None, description="A file with the token, read for each request: in a pod, a projected one."
    )
    ca_cert: FilePath | None = Field(
        None, description="The certificates that its own is checked with. [those of certifi]"
    )
    namespace: str = Field("", description="The one of a multi-user Kubeflow. [single-user]")
    experiment: str = Field("roadworthy", description="The experiment of the runs.")
    service_account: str = Field(
        "roadworthy-pipeline", description="The Kubernetes service account of the steps."
    )
    poll_seconds: float = Field(5.0, gt=0, description="Seconds between two looks at a run.")
    outage_seconds: float = Field(
        300.0, ge=0, description="Seconds for which the API may fail while a run is waited for."
    )

    @field_validator("url", "ui_url")
    @classmethod
    def _address(cls, value: str) -> str:
        found = urlsplit(value)
        if value and (found.scheme not in ("http", "https") or not found.hostname):
            raise ValueError("it must begin with http:// or https://")
        if "@" in found.netloc or found.query:
            raise ValueError("an address must not contain a user, password or token")
        return value.rstrip("/")

    @field_validator("token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        return presentable(value)

    @model_validator(mode="after")
    def _fill(self) -> Self:
        object.__setattr__(self, "ui_url", self.ui_url or self.url)
        return self

    @property
    def has_token(self) -> bool:
        """Whether there is a token to show."""
        return self.token_path is not None or bool(self.token.get_secret_value())

    def run_address(self, run: str) -> str:
        """Return the address of a run's web page."""
        return f"{self.ui_url}/#/runs/details/{run}"

    def bearer(self) -> str:
        """Return the token as it is now; empty where there is none.

        Raises
        ------
        SettingsError
            Its file cannot be read, or holds no token.
        """
        if self.token_path is None:
            return self.token.get_secret_value()
        try:
            # What is not UTF-8 becomes a character that no token has, and is refused as such.
            held = SecretStr(self.token_path.read_text(encoding="utf-8", errors="replace"))
            return presentable(held).get_secret_value()
        except TokenError as error:
            raise SettingsError(f"In {self.token_path}, {error}.") from None
        except OSError as error:
            raise SettingsError(
                f"The token of Kubeflow cannot be read from {self.token_path} "
                f"({error.strerror}): set {_PREFIX}TOKEN_PATH to a file that exists."
            ) from error


def from_environment() -> KubeflowSettings:
    """Return the settings of the environment; SettingsError names a variable that is wrong."""
    return environment.from_environment(KubeflowSettings)


def required() -> KubeflowSettings:
    """Return the settings of the environment; SettingsError where they name no Kubeflow."""
    settings = from_environment()
    if not settings.url:
        raise SettingsError(
            f"Kubeflow's address is not set: set {_PREFIX}URL, e.g. to the one of "
            f"`kubectl port-forward service/ml-pipeline 8888`, http://127.0.0.1:8888."
        )
    return settings
