"""The settings of KServe, from the environment (``ROADWORTHY_KSERVE_...``)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from roadworthy.core import environment
from roadworthy.rollout.engine.state import RolloutError

Mode = Literal["Knative", "Standard"]
"""KServe's deployment mode: by Knative, or with a Deployment for each version."""
MODES: dict[str, Mode] = {
    "Knative": "Knative",
    "Serverless": "Knative",
    "Standard": "Standard",
    "RawDeployment": "Standard",
}
"""The modes by their current and former names."""
Metric = Literal["", "cpu", "memory", "concurrency", "rps"]

_PREFIX = "ROADWORTHY_KSERVE_"
_METRICS: dict[Mode, tuple[str, ...]] = {
    "Knative": ("concurrency", "rps"),
    "Standard": ("cpu", "memory"),
}
"""The metrics of each mode's autoscaler; the first is the default."""
_TARGETS = {"cpu": 70, "memory": 80, "concurrency": 20, "rps": 100}
_WHOLE = 100
_STARTUP_SECONDS = 120
_LONGEST_DELAY = 3600
"""The longest delay of Knative's autoscaler."""


class KServeSettings(BaseSettings):
    """How versions are served on KServe. Each field is ``ROADWORTHY_KSERVE_<FIELD>``."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    namespace: str = Field("roadworthy", description="Where the InferenceServices are.")
    context: str = Field("", description="A context of the kubeconfig. [the pod's own, or the one]")
    runtime: str = Field(
        "roadworthy", description="The ServingRuntime of which a new version gets a copy."
    )
    service_account: str = Field("roadworthy-serving", description="Whose pods serve.")
    endpoint: str = Field(
        "", description="Where requests are sent in place of status.url, with its host as Host."
    )
    version_endpoint: str = Field(
        "", description="Where one version alone is asked, the same way. [Knative: endpoint]"
    )
    min_replicas: int = Field(2, ge=0, description="The fewest pods of a version. 0: Knative only.")
    max_replicas: int = Field(6, ge=1, description="The most pods of a version.")
    scale_metric: Metric = Field(
        "", description="cpu or memory (Standard), concurrency or rps (Knative). [the first]"
    )
    scale_target: int = Field(
        0, ge=0, description="Percent, or requests of a pod. [70, 80, 20 or 100]"
    )
    stabilization_seconds: int = Field(
        300, ge=0, le=_LONGEST_DELAY, description="How long load must be low until pods go."
    )
    scale_up_seconds: int = Field(
        0, ge=0, le=_LONGEST_DELAY, description="How long it must be high until more come. Standard"
    )
    container_concurrency: int = Field(
        0, ge=0, description="Requests that a pod takes at a time. Knative only. [no limit]"
    )
    cpu_request: str = Field("250m", description="The CPU that a pod is sure of.")
    cpu_limit: str = Field("1", description="The CPU that it may use at most.")
    memory_request: str = Field("512Mi", description="The memory that a pod is sure of.")
    memory_limit: str = Field("1Gi", description="The memory that it may use at most.")
    startup_seconds: int = Field(
        0, ge=0, description="How long a pod may take to load a bundle. Standard only. [120]"
    )
    drain_seconds: int = Field(
        10, ge=0, description="How long a pod that is to stop still answers, not ready."
    )
    grace_seconds: int = Field(
        0, ge=0, description="After so long it is killed. Standard only. [drain_seconds + 30]"
    )
    spread: str = Field(
        "",
        description="Over what pods are spread. [Standard: kubernetes.io/hostname; Knative: none]",
    )
    max_unavailable: int = Field(
        1, ge=1, description="Pods that a drained node may take at a time."
    )
    patience_seconds: float = Field(
        30.0, ge=0, description="How long to wait for what may pass: no node with room, for one."
    )
    poll_seconds: float = Field(1.0, gt=0, description="How often the cluster is looked at.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas is less than min_replicas")
        return self

    def check(self, mode: Mode) -> None:
        """Refuse settings that a mode ignores.

        Raises
        ------
        RolloutError
            A setting is not supported in the mode.
        """
        for field, means_nothing, instead in (
            (
                "scale_metric",
                bool(self.scale_metric) and self.scale_metric not in _METRICS[mode],
                f"its autoscaler goes by {' or '.join(_METRICS[mode])}",
            ),
            (
                "scale_target",
                self.scale_target > _WHOLE and self.metric(mode) in ("cpu", "memory"),
                "it is a percentage of what a pod requests",
            ),
            (
                "min_replicas",
                mode == "Standard" and self.min_replicas < 1,
                "a Deployment keeps at least one pod",
            ),
            (
                "container_concurrency",
                mode == "Standard" and bool(self.container_concurrency),
                "only Knative counts the requests of a pod",
            ),
            (
                "scale_up_seconds",
                mode == "Knative" and bool(self.scale_up_seconds),
                "Knative's autoscaler adds pods at once",
            ),
            (
                "startup_seconds",
                mode == "Knative" and bool(self.startup_seconds),
                "a pod has as long as progress-deadline says in the ConfigMap config-deployment",
            ),
            (
                "grace_seconds",
                mode == "Knative" and bool(self.grace_seconds),
                "Knative itself says how long a pod may take to stop",
            ),
        ):
            if means_nothing:
                raise RolloutError(
                    f"{_PREFIX}{field.upper()}={getattr(self, field)} means nothing in KServe's "
                    f"mode {mode}, where {instead}: change it, or leave it out."
                )

    @property
    def startup(self) -> int:
        """How long a pod may take to load a bundle [s], in the mode `Standard`."""
        return self.startup_seconds or _STARTUP_SECONDS

    def metric(self, mode: Mode) -> str:
        """Return the metric of the autoscaler."""
        return self.scale_metric or _METRICS[mode][0]

    def target(self, mode: Mode) -> int:
        """Return the autoscaler's target value of the metric."""
        return self.scale_target or _TARGETS[self.metric(mode)]


def from_environment() -> KServeSettings:
    """Return the settings of the environment.

    Raises
    ------
    SettingsError
        A variable has a value that cannot be used.
    """
    return environment.from_environment(KServeSettings, KServeSettings.model_fields)
