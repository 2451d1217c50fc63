"""What each step needs of a cluster: CPU and memory, secrets, settings, retries.

Secrets and settings are named, never held: a pod mounts the ``ConfigMap`` and the ``Secret`` of
that name as files, each under the name of its variable, which the step reads at its start. All are
optional: a pod may have its rights by its identity, and what is not set has its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kfp import dsl, kubernetes

from roadworthy.core.mounted import MOUNT
from roadworthy.engines.kubeflow.image import variant
from roadworthy.engines.kubeflow.secrets import GIT, MLFLOW, S3, SERVING
from roadworthy.engines.kubeflow.tasks import TITLES
from roadworthy.models.contract import Resources
from roadworthy.steps.task import PURE

CONFIG_MAP = "roadworthy"

_RUN = "metadata.labels['pipeline/runid']"
"""Where a pod has the id of its run: an input would be another one in each run."""


@dataclass(frozen=True)
class Needs:
    """What a step needs.

    Parameters
    ----------
    cpu, cpu_limit
        Its CPU request and limit.
    memory, memory_limit
        Its memory request and limit.
    secrets
        Those beside the one for S3: every step writes its record.
    again
        Whether it is retried: it depends on Git, S3, the registry or the cluster, and continues
        what an earlier attempt has done.
    """

    cpu: str
    cpu_limit: str
    memory: str
    memory_limit: str
    secrets: tuple[str, ...] = ()
    again: bool = False


def _light(*secrets: str, again: bool = True) -> Needs:
    """Return what a step needs that mostly waits for other services."""
    return Needs("100m", "1", "512Mi", "1Gi", secrets, again=again)


def _heavy(*secrets: str, again: bool = False) -> Needs:
    """Return what a step needs that computes."""
    return Needs("500m", "2", "1Gi", "2Gi", secrets, again=again)


NEEDS = {
    "checkout": _light(GIT, MLFLOW),
    "prepare": _light(GIT),
    "train": _heavy(),
    "evaluate": _heavy(),
    "gate": _heavy(GIT, again=True),
    "reject": _light(GIT, MLFLOW),
    "release": _light(GIT, MLFLOW, SERVING),
    # Its failure is recorded in the registry, and ended the rollout.
    "stage": _light(MLFLOW, SERVING, again=False),
    # A stage that one pod analysed is not repeated by another.
    "canary": _light(MLFLOW, SERVING, again=False),
    "promote": _light(MLFLOW, SERVING),
    # It rolls back the rollout of a step that was killed.
    "report": _light(MLFLOW, SERVING),
}
"""What each step needs, by its name among the records."""

ASKING = ("roadworthy/asks-models", "true")
"""The label of the pods whose requests a model server accepts before all others."""

_ATTEMPTS_MORE = 2
_FIRST_PAUSE = "10s"
_LONGEST_PAUSE = "60s"
_GPU = "nvidia.com/gpu"
_DEFAULT: Mapping[str, Resources] = {}


def equip(
    task: dsl.PipelineTask, image: str, resources: Mapping[str, Resources] = _DEFAULT
) -> dsl.PipelineTask:
    """Give the task of a step what the step needs, and its title; return it.

    Parameters
    ----------
    image
        The image of the steps.
    resources
        What the model says of its heavy steps. It overrules :data:`NEEDS`.
    """
    step = task.name
    needs, own = NEEDS[step], resources.get(step, Resources())
    task.set_display_name(TITLES[step])
    task.set_container_image(variant(image, own.image) if own.image else image)
    task.set_cpu_request(own.cpu or needs.cpu).set_cpu_limit(own.cpu or needs.cpu_limit)
    task.set_memory_request(own.memory or needs.memory)
    task.set_memory_limit(own.memory or needs.memory_limit)
    if own.gpu:
        task.set_accelerator_type(_GPU).set_accelerator_limit(own.gpu)
    task.set_caching_options(enable_caching=step in PURE)
    if again := own.retries or needs.again * _ATTEMPTS_MORE:
        task.set_retry(
            again,
            backoff_duration=_FIRST_PAUSE,
            backoff_factor=2,
            backoff_max_duration=_LONGEST_PAUSE,
        )
    if SERVING in needs.secrets:
        kubernetes.add_pod_label(task, *ASKING)
    kubernetes.use_field_path_as_env(task, "ROADWORTHY_RUN", _RUN)
    kubernetes.use_config_map_as_volume(task, CONFIG_MAP, f"{MOUNT}/{CONFIG_MAP}", optional=True)
    for secret in (S3, *needs.secrets):
        kubernetes.use_secret_as_volume(task, secret, f"{MOUNT}/{secret}", optional=True)
    return task
