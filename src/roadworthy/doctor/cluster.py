"""The API server of a cluster: objects and rights."""

from __future__ import annotations

from typing import Any, NamedTuple

from roadworthy.core.errors import RoadworthyError

_TIMEOUT = (5, 10)
"""Seconds to connect, and to wait for a response."""
_UNKNOWN_USER, _FORBIDDEN, _ABSENT = 401, 403, 404
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class UnreachableError(RoadworthyError):
    """The API server cannot be asked. ``remedy`` is the command that helps."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class RefusedError(RoadworthyError):
    """The API server refused a request."""


class ForbiddenError(RefusedError):
    """The user has no permission for a request."""


class AbsentError(RefusedError):
    """There is no such object."""


class Right(NamedTuple):
    """A permission."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        """Return it as ``kubectl auth can-i`` takes it, without the namespace."""
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}{f'/{self.name}' if self.name else ''}"


class Api:
    """The API server of a context, or of the pod around, which has responded once.

    Parameters
    ----------
    context
        A context of the kubeconfig; empty for the pod's own API server, or else the current one.

    Attributes
    ----------
    address, version
        Its address and version.

    Raises
    ------
    UnreachableError
        No cluster is configured, or it does not respond. Each request may raise it, too.
    """

    def __init__(self, context: str) -> None:
        from roadworthy.rollout.kserve.cluster import ClusterError, client

        try:
            self._client = client(context)
        except ClusterError as error:
            told = str(error).removesuffix(".")
            raise UnreachableError(told, "kubectl config get-contexts") from error
        self.address = str(self._client.configuration.host)
        self.version = str(self.get("/version")["gitVersion"])

    def get(self, path: str, *, metadata: bool = False) -> Any:
        """Return the object at a path, or its metadata alone; RefusedError where that fails."""
        return self._ask("GET", path, accept=_METADATA if metadata else "application/json")

    def may(self, right: Right, account: str = "") -> bool:
        """Return whether the own user has a permission, or a service account."""
        attributes = {key: value for key, value in right._asdict().items() if value}
        spec: dict[str, Any] = {"resourceAttributes": attributes}
        kind = "selfsubjectaccessreviews"
        if account:
            kind = "subjectaccessreviews"
            groups = ["serviceaccounts", f"serviceaccounts:{account.split(':')[2]}"]
            groups.append("authenticated")
            spec |= {"user": account, "groups": [f"system:{group}" for group in groups]}
        path = f"/apis/authorization.k8s.io/v1/{kind}"
        return bool(self._ask("POST", path, body={"spec": spec})["status"].get("allowed"))

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
                _request_timeout=_TIMEOUT,
            )
        except ApiException as error:
            if not error.status:  # the connection broke before there was a response
                raise self._unreachable(error.reason) from error
            if error.status == _UNKNOWN_USER:
                told = f"{self.address} does not accept the credentials"
                raise UnreachableError(told, "kubectl auth whoami") from error
            kinds = {_FORBIDDEN: ForbiddenError, _ABSENT: AbsentError}
            kind = kinds.get(error.status, RefusedError)
            raise kind(f"{path} responds with {error.status} {error.reason}") from error
        except (HTTPError, OSError) as error:
            raise self._unreachable(getattr(error, "reason", None) or error) from error

    def _unreachable(self, reason: object) -> UnreachableError:
        told = next(iter(str(reason).strip().splitlines()), type(reason).__name__)
        return UnreachableError(f"{self.address} does not respond ({told})", "kubectl cluster-info")
