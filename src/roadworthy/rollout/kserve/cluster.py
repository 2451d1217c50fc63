"""The Kubernetes API, as far as a rollout needs it.

What may pass, such as an API server that is being replaced, is asked again for a while. What does
not pass is raised as one sentence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeVar

import roadworthy.rollout.kserve.lean_kubernetes  # noqa: F401 - before kubernetes

# isort: split
import tenacity
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve import serving_runtime
from roadworthy.rollout.kserve.inference_service import API_VERSION, MANAGER

Json = dict[str, Any]
_Answer = TypeVar("_Answer")

APPLY = "`deploy/render OVERLAY COMMIT | kubectl apply --server-side --filename -`"
"""The command that makes what the project needs on a cluster."""
_TIMEOUT_SECONDS = (5, 30)
"""To connect, and to read."""
_POD_TIMEOUT_SECONDS = (2, 5)
"""The same for a pod behind the API server."""
_LONGEST_WAIT = 2.0
_LONGEST_PAUSE = 1.0
"""Between two changes of the same object."""
_SHOWN = 300
_ABSENT, _CONFLICT, _MANY = 404, 409, 429
_FORBIDDEN = (401, 403)
_SERVER = 500
_CONFIG = ("kserve", "inferenceservice-config")
"""Namespace and name of KServe's own settings."""

log = logging.getLogger(__name__)


class ClusterError(RolloutError):
    """A request to the cluster failed."""


class StaleError(ClusterError):
    """The object was changed since it was read."""


class FieldConflictError(ClusterError):
    """Another field manager owns one of our fields."""


def unless_stale(seconds: float) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return a decorator that retries a function which reads and changes an object.

    Parameters
    ----------
    seconds
        The longest time; then the :class:`StaleError` is raised.
    """
    return tenacity.retry(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=_LONGEST_PAUSE),
        retry=tenacity.retry_if_exception_type(StaleError),
        reraise=True,
    )


def client(context: str) -> ApiClient:
    """Return a client of the API server of a context, or of this pod, or else of the kubeconfig.

    It sends no request yet, and does not retry.

    Raises
    ------
    ClusterError
        There is no such configuration.
    """
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError

    try:
        if not context:
            try:
                inside = _configuration()
                config.load_incluster_config(client_configuration=inside)
                return ApiClient(inside)
            except ConfigException:
                log.debug("This is no pod: the kubeconfig is read.")
        outside = _configuration()
        # Named, because the library itself knows only where it was when it was imported.
        file = os.environ.get("KUBECONFIG") or None
        config.load_kube_config(
            file, context or None, client_configuration=outside, persist_config=False
        )
        return ApiClient(outside)
    except (ConfigException, OSError, YAMLError) as error:
        raise ClusterError(
            f"There is no way to a cluster ({_brief(str(error))}): run in a pod, or name a "
            f"kubeconfig in KUBECONFIG and perhaps a context in ROADWORTHY_KSERVE_CONTEXT."
        ) from error


class Cluster:
    """One namespace of a cluster.

    Parameters
    ----------
    api
        A client of the API server.
    namespace
        The namespace of the models.
    seconds
        How long to retry while the API server does not answer.
    """

    def __init__(self, api: ApiClient, namespace: str, seconds: float) -> None:
        self._api = api
        self._namespace = namespace
        self._seconds = seconds

    @classmethod
    def of(cls, context: str, namespace: str, seconds: float) -> Cluster:
        """Return the cluster of a context, or of this pod, or else of the kubeconfig.

        Raises
        ------
        ClusterError
            There is no such configuration.
        """
        return cls(client(context), namespace, seconds)

    def service(self, model: str) -> Json | None:
        """Return the InferenceService of a model, or None."""
        return self._find(self._serving("inferenceservices", model))

    def apply_service(self, manifest: Json, *, force: bool) -> Json:
        """Apply an InferenceService as our field manager, and return the result.

        Parameters
        ----------
        force
            Whether to take over fields of other field managers.

        Raises
        ------
        FieldConflictError
            Another field manager owns one of our fields.
        StaleError
            It has another resourceVersion than the manifest.
        """
        path = self._serving("inferenceservices", manifest["metadata"]["name"])
        return self._apply(path, manifest, force=force)

    def check_service(self, manifest: Json) -> None:
        """Check that an InferenceService would be accepted, without changing anything.

        Raises
        ------
        FieldConflictError
            Another field manager owns one of our fields.
        """
        path = self._serving("inferenceservices", manifest["metadata"]["name"])
        self._apply(path, manifest, force=False, dry=True)

    def runtime(self, name: str) -> Json | None:
        """Return a ServingRuntime, or None."""
        return self._find(self._runtime(name))

    def apply_runtime(self, manifest: Json) -> Json:
        """Apply a ServingRuntime that is ours alone."""
        return self._apply(self._runtime(manifest["metadata"]["name"]), manifest, force=True)

    def services(self) -> list[Json]:
        """Return all InferenceServices."""
        return self._list(self._serving("inferenceservices", ""))

    def runtimes(self) -> list[Json]:
        """Return all ServingRuntimes."""
        return self._list(self._runtime(""))

    def autoscalers(self) -> list[Json]:
        """Return all HorizontalPodAutoscalers."""
        return self._list(self._autoscaler(""))

    def delete_runtime(self, found: Json) -> None:
        """Delete a ServingRuntime, unless it was changed or deleted since it was read."""
        self._delete(self._runtime(found["metadata"]["name"]), found, "uid", "resourceVersion")

    def delete_autoscaler(self, found: Json) -> None:
        """Delete a HorizontalPodAutoscaler, unless it was deleted since it was read."""
        self._delete(self._autoscaler(found["metadata"]["name"]), found, "uid")

    def default_mode(self) -> str:
        """Return the default deployment mode of KServe's settings."""
        told = self._setting("deploy", "defaultDeploymentMode")
        if not told:
            raise ClusterError(
                f"KServe's ConfigMap {'/'.join(_CONFIG)} has no defaultDeploymentMode: put it "
                f"under `deploy` there, as KServe's installation does."
            )
        return str(told)

    def has_gateway_api(self) -> bool:
        """Return whether KServe makes routes of the Gateway API, from KServe's settings."""
        return self._setting("ingress", "enableGatewayApi") is True

    def pods(self, selector: str) -> list[Json]:
        """Return the pods with some labels."""
        query = [("labelSelector", selector)]
        return self._list(f"/api/v1/namespaces/{self._namespace}/pods", query)

    def pod_page(self, pod: str, port: int, path: str) -> str:
        """Return what a pod answers at a path, asked once by the API server and without a token.

        Raises
        ------
        ClusterError
            The account may not ask it, it cannot be reached, or it answers with an error.
        """
        place = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{port}/proxy/{path}"
        try:
            text, _, _ = self._api.call_api(
                place,
                "GET",
                header_params={"Accept": "text/plain"},
                response_type="str",
                auth_settings=["BearerToken"],
                _request_timeout=_POD_TIMEOUT_SECONDS,
            )
        except (ApiException, HTTPError) as error:
            told = _message(error) if isinstance(error, ApiException) else _brief(str(error))
            status = getattr(error, "status", None) or "no answer"
            raise ClusterError(
                f"The API server does not get /{path} from port {port} of the pod {pod} "
                f"({status}: {told})"
            ) from error
        return str(text)

    def warnings(self) -> list[Json]:
        """Return the warning events of the namespace."""
        query = [("fieldSelector", "type!=Normal")]
        return self._list(f"/api/v1/namespaces/{self._namespace}/events", query)

    def address(self, service: str) -> str:
        """Return the address of a Service inside the cluster; empty if there is none."""
        found = self._find(f"/api/v1/namespaces/{self._namespace}/services/{service}")
        if found is None:
            return ""
        port = next(iter(found["spec"].get("ports") or []), {"port": 80})
        # A headless Service resolves to the pods themselves, so their port is needed.
        headless = found["spec"].get("clusterIP") == "None"
        inside = port.get("targetPort") if headless else None
        number = inside if isinstance(inside, int) else port["port"]
        return f"http://{service}.{self._namespace}.svc:{number}"

    @cached_property
    def budget_version(self) -> str:
        """The API version of PodDisruptionBudgets in the cluster."""
        served = [one["groupVersion"] for one in self._ask("GET", "/apis/policy")["versions"]]
        return "policy/v1" if "policy/v1" in served else "policy/v1beta1"

    def budget(self, model: str) -> Json | None:
        """Return the PodDisruptionBudget of a model, or None."""
        return self._find(self._budget(model))

    def apply_budget(self, manifest: Json) -> Json:
        """Apply the PodDisruptionBudget of a model. It has no other field manager."""
        return self._apply(self._budget(manifest["metadata"]["name"]), manifest, force=True)

    def annotate_budget(self, found: Json, annotations: dict[str, str | None]) -> None:
        """Set annotations of a PodDisruptionBudget as it was read; None removes one.

        Raises
        ------
        StaleError
            It was changed since.
        """
        metadata = found["metadata"]
        version = metadata["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "annotations": annotations}}
        query = [("fieldManager", MANAGER)]
        path = self._budget(metadata["name"])
        self._ask("PATCH", path, query, patch, "application/merge-patch+json")

    def _setting(self, section: str, key: str) -> object:
        """Return a value of KServe's settings; None if it is not set."""
        namespace, name = _CONFIG
        found = self._find(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        if found is None:
            raise ClusterError(
                f"The cluster has no ConfigMap {namespace}/{name}, so KServe is not installed "
                f"there: install it, or name another cluster in ROADWORTHY_KSERVE_CONTEXT."
            )
        try:
            value: object = json.loads(found["data"][section]).get(key)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return value

    def _serving(self, kind: str, name: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self._namespace}/{kind}/{name}"

    def _runtime(self, name: str) -> str:
        path = f"/apis/{serving_runtime.API_VERSION}/namespaces/{self._namespace}"
        return f"{path}/servingruntimes/{name}"

    def _autoscaler(self, name: str) -> str:
        return f"/apis/autoscaling/v1/namespaces/{self._namespace}/horizontalpodautoscalers/{name}"

    def _budget(self, name: str) -> str:
        path = f"/apis/{self.budget_version}/namespaces/{self._namespace}"
        return f"{path}/poddisruptionbudgets/{name}"

    def _apply(self, path: str, manifest: Json, *, force: bool, dry: bool = False) -> Json:
        query = [("fieldManager", MANAGER), ("force", str(force).lower())]
        query += [("dryRun", "All")] if dry else []
        return self._ask("PATCH", path, query, manifest, "application/apply-patch+yaml")

    def _list(self, path: str, query: list[tuple[str, str]] | None = None) -> list[Json]:
        return list(self._ask("GET", path.rstrip("/"), query)["items"])

    def _delete(self, path: str, found: Json, *same: str) -> None:
        """Delete an object if some of its metadata is what it was."""
        expected = {name: found["metadata"][name] for name in same}
        with contextlib.suppress(_MissingError, StaleError):
            self._ask("DELETE", path, body={"preconditions": expected})

    def _find(self, path: str) -> Json | None:
        try:
            return self._ask("GET", path)
        except _MissingError:
            return None

    def _ask(
        self,
        verb: Literal["GET", "PATCH", "DELETE"],
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Json | None = None,
        kind: str = "application/json",
    ) -> Json:
        def ask() -> Json:
            answer, _, _ = self._api.call_api(
                path,
                verb,
                query_params=query or [],
                header_params={"Accept": "application/json", "Content-Type": kind},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _request_timeout=_TIMEOUT_SECONDS,
            )
            found: Json = answer
            return found

        told = body or {}
        versioned = "preconditions" in told or "resourceVersion" in (told.get("metadata") or {})
        try:
            return self._insist(ask, versioned=versioned)
        except ApiException as error:
            raise self._told(error, path) from error
        except HTTPError as error:
            raise ClusterError(
                f"The API server of the cluster did not answer for {self._seconds:g} s "
                f"({_brief(str(error))}): check the connection to it, and run again."
            ) from error

    def _insist(self, ask: Callable[[], _Answer], *, versioned: bool) -> _Answer:
        def passes(error: BaseException) -> bool:
            if isinstance(error, ApiException):
                status = int(error.status or 0)
                again = status == _CONFLICT and not versioned and not _owners(error)
                return again or status in (0, _MANY) or status >= _SERVER
            return isinstance(error, HTTPError)

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(self._seconds),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT),
            retry=tenacity.retry_if_exception(passes),
            before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        return retrying(ask)

    def _told(self, error: ApiException, path: str) -> ClusterError:
        """Return the error of a response of the API server."""
        what = "/".join(path.split("/")[-2:])
        where = f"in the namespace {self._namespace}"
        owners = _owners(error)
        if owners:
            return FieldConflictError(
                f"{what} {where} was not changed: {owners}. Take that change back, or let "
                f"`kubectl apply --server-side --field-manager={MANAGER} --force-conflicts` decide "
                f"for Roadworthy, and run again."
            )
        status, message = int(error.status or 0), _message(error)
        if status == _ABSENT:
            return _MissingError(
                f"The cluster has no {what} {where} ({message}): check that KServe is installed "
                f"there and the namespace is made ({APPLY})."
            )
        if status == _CONFLICT:
            return StaleError(f"{what} {where} was changed by another client meanwhile: run again.")
        if status in _FORBIDDEN:
            return ClusterError(
                f"The cluster refuses access to {what} {where} ({message}): give this account the "
                f"role roadworthy-pipeline ({APPLY})."
            )
        return ClusterError(
            f"The cluster refuses {what} {where} ({status}: {message}). Fix what it names, and "
            f"run again."
        )


class _MissingError(ClusterError):
    """There is no such object."""


def _configuration() -> Any:
    from kubernetes.client import Configuration

    made = Configuration()
    made.retries = False  # retries are made and logged in this module
    return made


def _owners(error: ApiException) -> str:
    """Return the fields of other managers, and these; empty if that is not the reason."""
    try:
        causes = json.loads(error.body)["details"]["causes"]
    except (ValueError, KeyError, TypeError):
        return ""
    return ", ".join(
        f"{cause.get('field', 'a field')} has a {cause.get('message', 'conflict')}"
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )


def _message(error: ApiException) -> str:
    try:
        return _brief(str(json.loads(error.body)["message"]))
    except (ValueError, KeyError, TypeError):
        return _brief(str(error.reason))


def _brief(text: str) -> str:
    told = " ".join(text.split()).rstrip(".")
    return told if len(told) <= _SHOWN else f"{told[: _SHOWN - 1]}…"
