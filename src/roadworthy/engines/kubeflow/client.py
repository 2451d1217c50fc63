"""The client of Kubeflow's API: ``kfp.Client`` with this project's settings, limits and errors.

Importing ``kfp`` takes a second or two, so import this module only where Kubeflow is asked.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import kfp
import kfp_server_api
import tenacity
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api.rest import RESTClientObject

from roadworthy.core.errors import RoadworthyError
from roadworthy.engines.kubeflow.settings import KubeflowSettings

_TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for a response."""
_ATTEMPTS = 3
_PAGE = 100
_LONGEST_MESSAGE = 300
_UNAVAILABLE = frozenset({429, 500, 502, 503, 504})

Found = TypeVar("Found")


class KubeflowError(RoadworthyError):
    """Kubeflow did not do what was asked."""


class RefusedError(KubeflowError):
    """Kubeflow refuses the credentials, or the address is not its API."""


class UnavailableError(KubeflowError):
    """Kubeflow did not respond, or failed; it may respond later."""


class ConflictError(KubeflowError):
    """Something of that name exists already."""


class MissingError(KubeflowError):
    """Kubeflow has no such object."""


class Client(kfp.Client):  # type: ignore[misc]  # kfp has no types
    """``kfp.Client`` for the Kubeflow of the settings.

    A request that changes nothing is tried three times. Every failure is raised as a
    :class:`KubeflowError`. The token is read again for each request.
    """

    def __init__(self, settings: KubeflowSettings) -> None:
        self.settings = settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each client warns about Kubeflow Pipelines 1
            super().__init__(
                host=settings.url,
                ui_host=settings.ui_url,
                namespace=settings.namespace,
                credentials=_Token(settings) if settings.has_token else None,
                ssl_ca_cert=str(settings.ca_cert) if settings.ca_cert else None,
            )
        api = self._run_api.api_client  # the one that all parts of the API share
        api.rest_client = _Requests(api.configuration, settings)

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ARG002
        """Return nothing: asked by kfp for a namespace, which it would save in a file."""
        return kfp_server_api.V2beta1GetHealthzResponse()


def named(name: str) -> str:
    """Return the filter of a list by a name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def everything(listing: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
    """Yield what a list has, page by page.

    Parameters
    ----------
    listing
        A method of the client that lists.
    field
        The field of its response that holds the items.
    """
    token = ""
    while True:
        page = listing(**options, page_size=_PAGE, page_token=token)
        yield from getattr(page, field) or ()
        token = page.next_page_token or ""
        if not token:
            return


def ensure(find: Callable[[], Found | None], make: Callable[[], Found]) -> Found:
    """Return what exists, or make it.

    A lost response does not tell whether the object was made, and somebody else may have made it
    first. So it is looked for again before the next attempt, and never made twice.
    """
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        retry=tenacity.retry_if_exception_type((UnavailableError, ConflictError)),
        wait=tenacity.wait_exponential_jitter(initial=0.1, max=2, jitter=0.1),
        reraise=True,
    )
    for attempt in attempts:
        found = find()  # not within the attempt: the client retries what only reads
        if found is not None:
            return found
        with attempt:
            return make()
    raise AssertionError("The last attempt returns or raises.")


class _Token(TokenCredentialsBase):  # type: ignore[misc]
    """The token of the settings, read again for each request."""

    def __init__(self, settings: KubeflowSettings) -> None:
        self._settings = settings

    def refresh_api_key_hook(self, config: Any) -> None:
        config.api_key["authorization"] = self._settings.bearer()


class _Requests(RESTClientObject):  # type: ignore[misc]
    """The requests of the generated client, with time limits, retries, and errors for users."""

    def __init__(self, configuration: Any, settings: KubeflowSettings) -> None:
        configuration.retries = urllib3.Retry(
            total=_ATTEMPTS - 1,
            redirect=0,  # a redirection leads to a sign-in page
            allowed_methods={"GET"},
            status_forcelist=_UNAVAILABLE,
            backoff_factor=0.1,
            raise_on_redirect=False,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        super().__init__(configuration)
        self._settings = settings

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Return a response, which is a JSON object."""
        try:
            response = super().request(method, url, **options | {"_request_timeout": _TIMEOUT})
        except kfp_server_api.ApiException as error:
            told = error.reason if not error.status else _message(error.body)
            raise _refusal(int(error.status or 0), told, self._settings) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                raise _refusal(0, reason, self._settings) from None
            raise UnavailableError(
                f"Kubeflow does not respond at {self._settings.url} ({_cause(reason)}): check that "
                f"it runs and can be reached from here, and that ROADWORTHY_KFP_URL is its address."
            ) from None
        if "json" not in (response.getheader("Content-Type") or ""):
            raise _refusal(302, "", self._settings)
        try:
            is_object = isinstance(json.loads(response.data), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:  # which the generated client would take for an empty one
            raise UnavailableError(
                f"Kubeflow at {self._settings.url} responds with what is no JSON object: run again "
                f"in a moment, or read the log of its API server and of the proxy in front of it."
            )
        return response


_LOGIN = "set ROADWORTHY_KFP_TOKEN, or ROADWORTHY_KFP_TOKEN_PATH to a file, to a valid token"
_PAGE_SHOWN = (
    RefusedError,
    "responds with a web page, not as Kubeflow's API",
    "set ROADWORTHY_KFP_URL to the API, and ROADWORTHY_KFP_TOKEN to a token that needs no sign-in",
)
_MEANINGS: Mapping[int, tuple[type[KubeflowError], str, str]] = {
    0: (
        RefusedError,
        "has a certificate that is not trusted ({told})",
        "set ROADWORTHY_KFP_CA_CERT to a file with the certificate of its authority",
    ),
    401: (RefusedError, "refuses the login ({token})", _LOGIN),
    403: (
        RefusedError,
        "forbids it{space} ({told})",
        "use a token that is allowed to do it, or set ROADWORTHY_KFP_NAMESPACE to your namespace",
    ),
    404: (
        MissingError,
        "does not have it ({told})",
        "check ROADWORTHY_KFP_URL and ROADWORTHY_KFP_NAMESPACE",
    ),
    409: (ConflictError, "has it already ({told})", "run again"),
    **dict.fromkeys((301, 302, 303, 307, 308), _PAGE_SHOWN),
    **dict.fromkeys(
        _UNAVAILABLE,
        (
            UnavailableError,
            "is unavailable ({status}: {told})",
            "run again in a moment, or read the log of its API server",
        ),
    ),
}
_OTHER = (
    KubeflowError,
    "refuses the request ({status}: {told})",
    "check the values, ROADWORTHY_KFP_NAMESPACE, and that its Pipelines are 2.1 or newer",
)


def _refusal(status: int, told: object, settings: KubeflowSettings) -> KubeflowError:
    """Return the error that a status means; 0 is a certificate that is not trusted."""
    kind, problem, remedy = _MEANINGS.get(status, _OTHER)
    said = problem.format(
        status=status,
        told=_first_line(told),
        token="the token is refused" if settings.has_token else "a token is required",
        space=f" in the namespace {settings.namespace}" if settings.namespace else "",
    )
    return kind(f"Kubeflow at {settings.url} {said}: {remedy}.")


def _message(body: object) -> object:
    """Return what the body of a refusal says."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        told = json.loads(str(text))
        return told.get("message") or told.get("error")
    except (ValueError, AttributeError, RecursionError):
        return text


def _first_line(text: object) -> str:
    lines = str(text or "").strip().splitlines() or ["no reason given"]
    return lines[0].removesuffix(".")[:_LONGEST_MESSAGE]


def _cause(reason: object) -> str:
    """Return why there was no response, without the names of Python's objects."""
    for kind, words in (
        (urllib3.exceptions.NameResolutionError, "its name is unknown"),
        (urllib3.exceptions.NewConnectionError, "connection refused"),
        (urllib3.exceptions.TimeoutError, "timed out"),
        (urllib3.exceptions.ProtocolError, "connection lost"),
    ):
        if isinstance(reason, kind):
            return words
    return type(reason).__name__
