"""What each step needs of a cluster: processor and memory, secrets, settings, another attempt.

Secrets and settings are named, never held: the cluster's ``Secret`` and ``ConfigMap`` of that name
have them, each under the name of its variable. All are optional: a pod may have its rights by its
identity, and what is not set has its default.
"""

from dataclasses import dataclass

from kfp import dsl, kubernetes
from pydantic import SecretStr

from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.secrets import GIT, MLFLOW, S3, SECRETS, SERVING
from roadworthy.engines.kubeflow.tasks import TITLES
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

CONFIG_MAP = "roadworthy"

RECORDING = (
    "ROADWORTHY_HOME",
    "ROADWORTHY_RECORDS",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
)
"""The keys of the ConfigMap, which are the variables, that every step needs."""

# A process names itself, the image is chosen before there is a process, and it knows its commit.
_NOT_SETTABLE = {"commit", "holder", "image"}
SETTINGS = RECORDING + tuple(
    variable
    for name, field in Settings.model_fields.items()
    if (variable := f"ROADWORTHY_{name.upper()}") not in RECORDING
    and name not in _NOT_SETTABLE
    and field.annotation is not SecretStr
)
"""Those of the steps that talk to Git, the registry or a model server."""

ROLLOUT = SETTINGS + tuple(
    f"ROADWORTHY_KSERVE_{name.upper()}" for name in KServeSettings.model_fields
)
"""Those of the steps that have to do with a rollout."""


@dataclass(frozen=True)
class Needs:
    """What a step needs.

    Parameters
    ----------
    cpu, cpu_limit
        Processors that it is promised, and may use at most.
    memory, memory_limit
        The same of memory.
    secrets
        Those beside the one for S3: every step writes its record, and Kubeflow's artifacts are its
        own affair.
    again
        Whether it is tried again when it fails: it talks to Git, S3, the registry or the cluster,
        and finds what an attempt before it has done.
    """

    cpu: str
    cpu_limit: str
    memory: str
    memory_limit: str
    secrets: tuple[str, ...] = ()
    again: bool = False


def _light(*secrets: str, again: bool = True) -> Needs:
    """Return what a step needs that mostly waits for others."""
    return Needs("100m", "1", "512Mi", "1Gi", secrets, again=again)


def _heavy(*secrets: str, again: bool = False) -> Needs:
    """Return what a step needs that computes."""
    return Needs("500m", "2", "1Gi", "2Gi", secrets, again=again)


NEEDS = {
    "checkout": _light(GIT, MLFLOW),
    "prepare": _light(again=False),
    "train": _heavy(),
    "evaluate": _heavy(),
    "gate": _heavy(GIT, again=True),
    "reject": _light(MLFLOW),
    "release": _light(GIT, MLFLOW, SERVING),
    # It has told the registry of its failure, and so ended the rollout.
    "stage": _light(MLFLOW, SERVING, again=False),
    # A stage that was watched by one pod is not to be gone through again by another.
    "canary": _light(MLFLOW, SERVING, again=False),
    "promote": _light(MLFLOW, SERVING),
    # It takes back the rollout that a step which was killed has left.
    "report": _light(MLFLOW, SERVING),
}
"""What each step needs, by its name among the records."""

ASKING = ("roadworthy/asks-models", "true")
"""The label of the pods that a model lets in before anybody else may ask it."""

_ATTEMPTS_MORE = 2
_FIRST_PAUSE = "10s"
_LONGEST_PAUSE = "60s"


def equip(task: dsl.PipelineTask, step: str, image: str) -> None:
    """Give a task what its step needs, and its title."""
    needs = NEEDS[step]
    task.set_display_name(TITLES[step])
    task.set_container_image(image)
    task.set_cpu_request(needs.cpu).set_cpu_limit(needs.cpu_limit)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory_limit)
    # A step looks at Git, the registry or a clock and writes the record of its own run: there is
    # none whose inputs are hashes alone, so no result is ever used again.
    task.set_caching_options(enable_caching=False)
    if needs.again:
        task.set_retry(
            _ATTEMPTS_MORE,
            backoff_duration=_FIRST_PAUSE,
            backoff_factor=2,
            backoff_max_duration=_LONGEST_PAUSE,
        )
    if SERVING in needs.secrets:
        kubernetes.add_pod_label(task, *ASKING)
    for secret in (S3, *needs.secrets):
        kubernetes.use_secret_as_env(
            task, secret, {key: key for key in SECRETS[secret]}, optional=True
        )
    # checkout reads the record of the last rollout, too
    rolls_out = SERVING in needs.secrets or step == "checkout"
    keys = ROLLOUT if rolls_out else SETTINGS if needs.secrets else RECORDING
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {key: key for key in keys}, optional=True)
