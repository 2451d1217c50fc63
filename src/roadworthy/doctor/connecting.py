"""The kubernetes client, behind what the checks ask."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from roadworthy.core.errors import RoadworthyError
from roadworthy.doctor.api import NotReachedError, RefusedError, Right, review

_CONNECT_SECONDS, _READ_SECONDS = 5, 10
_REVIEWS = "/apis/authorization.k8s.io/v1"
_UNKNOWN = 401
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_CONTEXTS = "kubectl config get-contexts"


def connect(context: str) -> KubeApi:
    """Return the API server of a context, or of the pod one is in, once it has answered.

    Parameters
    ----------
    context
        A context of the kubeconfig; empty for the pod's own API server, or else the current one.

    Raises
    ------
    NotReachedError
        No cluster is named, or it does not answer.
    """
    from roadworthy.rollout.kserve.cluster import ClusterError, client

    try:
        made = client(context)
    except ClusterError as error:
        raise NotReachedError(str(error).removesuffix("."), _CONTEXTS) from error
    api = KubeApi(made, made.configuration.host, _user(context))
    api.introduce()
    return api


class KubeApi:
    """An API server, asked by the kubernetes client."""

    def __init__(self, client: Any, address: str, user: str) -> None:
        self._client = client
        self._user = user
        self.address = address
        self.who = user

    def introduce(self) -> None:
        """Ask whether it answers, and whom it takes one for."""
        self.get("/version")
        self.who = self._known() or self._user

    def get(self, path: str, *, metadata: bool = False) -> Any:
        """Return what is at a path; with ``metadata`` without its content."""
        return self._ask("GET", path, accept=_METADATA if metadata else "application/json")

    def may(self, right: Right, account: str = "") -> bool:
        """Return whether one may do something, or whether a service account of there may."""
        spec: dict[str, Any] = {"resourceAttributes": review(right)}
        kind = "selfsubjectaccessreviews"
        if account:
            kind = "subjectaccessreviews"
            namespace = account.split(":")[2]
            groups = ["serviceaccounts", f"serviceaccounts:{namespace}", "authenticated"]
            spec |= {"user": account, "groups": [f"system:{group}" for group in groups]}
        answer = self._ask("POST", f"{_REVIEWS}/{kind}", body={"spec": spec})
        return bool(answer["status"].get("allowed"))

    def _known(self) -> str:
        """Return what the API server says one is, or what the token says, or nothing."""
        try:
            reviewed = self._ask("POST", _WHO, body={})
        except RefusedError:  # an old one cannot be asked
            return self._named_by_token()
        return str(reviewed.get("status", {}).get("userInfo", {}).get("username", ""))

    def _named_by_token(self) -> str:
        shown = self._client.configuration.get_api_key_with_prefix("authorization") or ""
        middle = shown.partition(".")[2].partition(".")[0]
        try:
            told = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
            return str(told.get("sub", ""))
        except (ValueError, AttributeError):  # a token that says nothing of whose it is, or none
            return ""

    def _ask(
        self, method: str, path: str, *, accept: str = "application/json", body: Any = None
    ) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._client.call_api(
                path,
                method,
                header_params={"Accept": accept, "Content-Type": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            )
        except ApiException as error:
            raise self._refused(path, error) from error
        except (HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            told = f"{self.address} does not answer ({_first_line(reason)})"
            raise NotReachedError(told, "kubectl cluster-info") from error

    def _refused(self, path: str, error: Any) -> RoadworthyError:
        status = int(error.status or 0)
        if status == _UNKNOWN:
            told = f"{self.address} does not know the credentials of {self._user or 'this pod'}"
            return NotReachedError(told, "kubectl auth whoami")
        if not status:  # the connection broke before there was an answer
            return NotReachedError(
                f"{self.address} does not answer ({_first_line(error.reason)})",
                "kubectl cluster-info",
            )
        return RefusedError(f"{path} is answered with {status} {error.reason}", status)


def _user(context: str) -> str:
    """Return the name that the kubeconfig has for one's credentials; nothing in a pod."""
    from kubernetes import config

    if not context and "KUBERNETES_SERVICE_HOST" in os.environ:
        return ""
    file = os.environ.get("KUBECONFIG") or None
    contexts, current = config.list_kube_config_contexts(file)
    chosen = next((one for one in contexts if one["name"] == context), current)
    return str(chosen["context"].get("user", ""))


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
