"""The way to Kubeflow's API: every answer that is none becomes a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import kfp_server_api
import tenacity
import urllib3

from roadworthy.core.errors import RoadworthyError
from roadworthy.engines.kubeflow import shape
from roadworthy.engines.kubeflow.settings import KubeflowSettings

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
_ATTEMPTS = 3
_PAGE = 100
_LONGEST_MESSAGE = 300
_LETTERS = re.compile(r"charset=([a-zA-Z\d-]+)")  # as the generated client looks for them

Kept = TypeVar("Kept")


class KubeflowError(RoadworthyError):
    """Kubeflow did not do what was asked."""


class RefusedError(KubeflowError):
    """Kubeflow does not let us in, or forbids it."""


class UnreachableError(KubeflowError):
    """Kubeflow did not answer, or not as a server that is well; it may do so later."""


class ConflictError(KubeflowError):
    """Something of that name is there already."""


class MissingError(KubeflowError):
    """Kubeflow has no such thing."""


class Connection:
    """Kubeflow's API.

    Parameters
    ----------
    settings
        Where it is, and with which token it is entered.

    Attributes
    ----------
    pipelines, uploads, experiments, runs, schedules
        The parts of the API, as ``kfp_server_api`` has them.
    """

    def __init__(self, settings: KubeflowSettings) -> None:
        self.settings = settings
        client = _Client(settings)
        self.pipelines = kfp_server_api.PipelineServiceApi(client)
        self.uploads = kfp_server_api.PipelineUploadServiceApi(client)
        self.experiments = kfp_server_api.ExperimentServiceApi(client)
        self.runs = kfp_server_api.RunServiceApi(client)
        self.schedules = kfp_server_api.RecurringRunServiceApi(client)

    @property
    def where(self) -> dict[str, str]:
        """The argument of a list that says whose: none for a single-user Kubeflow."""
        return {"namespace": self.settings.namespace} if self.settings.namespace else {}


def named(name: str) -> str:
    """Return the filter of a list by a name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def everything(listing: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
    """Give what a list has, from one page after the other.

    Parameters
    ----------
    listing
        A method of the API that lists.
    field
        The field of its answer with what is listed.

    Raises
    ------
    KubeflowError
        The pages have no end.
    """
    tokens = {""}
    token = ""
    while True:
        page = listing(**options, page_size=_PAGE, page_token=token)
        yield from getattr(page, field) or ()
        token = page.next_page_token or ""
        if not token:
            return
        if token in tokens:
            raise KubeflowError(
                f"Kubeflow gives a page of its {field.replace('_', ' ')} again and again: look at "
                f"the log of its API server, and run again."
            )
        tokens.add(token)


def ensure(find: Callable[[], Kept | None], make: Callable[[], Kept]) -> Kept:
    """Return what is there, or make it.

    That making it had no answer does not tell whether it was made, and another one may be quicker:
    then it is looked for again, and never made twice.

    Raises
    ------
    KubeflowError
        It can be neither found nor made.
    """
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        retry=tenacity.retry_if_exception_type((UnreachableError, ConflictError)),
        wait=_pause(),
        reraise=True,
    )
    for attempt in attempts:
        # Not within the attempt: a request that only looks is made again by itself.
        found = find()
        if found is not None:
            return found
        with attempt:
            return make()
    raise AssertionError("The last attempt gives what was made, or raises.")


class _Client(kfp_server_api.ApiClient):  # type: ignore[misc]  # it has no types
    """The generated client, with a token that is read when it is used, and errors for people."""

    def __init__(self, settings: KubeflowSettings) -> None:
        configuration = kfp_server_api.Configuration(host=settings.url)
        configuration.ssl_ca_cert = str(settings.ca_cert) if settings.ca_cert else None
        # A redirection leads to a page where people sign in.
        configuration.retries = urllib3.Retry(0, redirect=0, raise_on_redirect=False)
        super().__init__(configuration)
        self._settings = settings

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Return the answer to a request; where nothing is changed by it, it may be made again."""
        once = partial(self._once, method, url, **options)
        if method != "GET":
            return once()
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            retry=tenacity.retry_if_exception_type(UnreachableError),
            wait=_pause(),
            reraise=True,
        )
        return attempts(once)

    def _once(self, method: str, url: str, **options: Any) -> Any:
        place = self._settings.url
        headers = dict(options.pop("headers", None) or {})
        if token := self._settings.bearer():
            headers["Authorization"] = f"Bearer {token}"
        options["_request_timeout"] = (_CONNECT_SECONDS, _ANSWER_SECONDS)
        try:
            answer = super().request(method, url, headers=headers, **options)
        except kfp_server_api.ApiException as error:
            raise _refusal(error, self._settings) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                raise _untrusted(place, reason) from None
            raise UnreachableError(
                f"Kubeflow does not answer at {place} ({_cause(reason)}): look whether it runs and "
                f"can be reached from here, and whether ROADWORTHY_KFP_URL is its address."
            ) from None
        kind = answer.getheader("Content-Type") or ""
        if "json" not in kind:
            raise _no_api(place)
        _check(answer.data, kind, place)
        return answer

    def deserialize(self, response: Any, response_type: str) -> Any:
        """Return an answer as an object of the API, if it is one."""
        try:
            shape.check(json.loads(response.data), response_type)
            return super().deserialize(response, response_type)
        except (
            kfp_server_api.ApiException,  # which is what it makes of a time that is none
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            told = error if isinstance(error, shape.ShapeError) else "a value is of another kind"
            raise KubeflowError(
                f"Kubeflow at {self._settings.url} answers with what is not of its API ({told}): "
                f"look whether this version of Roadworthy fits that Kubeflow, whose pipelines must "
                f"be 2.1 or newer."
            ) from None


def _check(body: bytes, kind: str, place: str) -> None:
    """See that a body is whole: half an answer must not mean that there is nothing."""
    letters = _LETTERS.search(kind)
    try:
        whole = isinstance(json.loads(body.decode("utf-8")), dict)
        whole = whole and (letters is None or letters[1].lower() in ("utf-8", "utf8"))
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise UnreachableError(
            f"Kubeflow at {place} gives an answer that is broken off or no JSON object: wait a "
            f"little and run again, or look at the log of its API server and of what is before it."
        )


def _refusal(error: kfp_server_api.ApiException, settings: KubeflowSettings) -> KubeflowError:
    """Return an answer that is none as an error with its remedy."""
    place, told = settings.url, _message(error.body)
    found: KubeflowError
    match int(error.status or 0):
        case 0:
            found = _untrusted(place, error.reason)
        case 301 | 302 | 303 | 307 | 308:
            found = _no_api(place)
        case 401:
            known = "the token is refused" if settings.bearer() else "it demands a token"
            found = RefusedError(
                f"Kubeflow at {place} does not let us in ({known}): put a valid one into "
                f"ROADWORTHY_KFP_TOKEN, or the file that holds it into ROADWORTHY_KFP_TOKEN_PATH."
            )
        case 403:
            space = f" in the namespace {settings.namespace}" if settings.namespace else ""
            found = RefusedError(
                f"Kubeflow at {place} forbids it{space} ({told}): use a token that may do it, or "
                f"name the namespace that is yours in ROADWORTHY_KFP_NAMESPACE."
            )
        case 404:
            found = MissingError(
                f"Kubeflow at {place} has no such thing ({told}): look whether "
                f"ROADWORTHY_KFP_URL and ROADWORTHY_KFP_NAMESPACE are right."
            )
        case 409:
            found = ConflictError(f"Kubeflow at {place} has it already ({told}): run again.")
        case 400 if "namespace" in told.lower():
            remedy = "unset" if settings.namespace else "name the namespace that is yours in"
            found = KubeflowError(
                f"Kubeflow at {place} refuses the namespace ({told}): {remedy} "
                f"ROADWORTHY_KFP_NAMESPACE."
            )
        case 429 | 500 | 502 | 503 | 504:
            found = UnreachableError(
                f"Kubeflow at {place} is not well ({error.status}: {told}): wait a little and run "
                f"again, or look at the log of its API server."
            )
        case _:
            found = KubeflowError(
                f"Kubeflow at {place} refuses it ({error.status}: {told}): look whether this "
                f"version of Roadworthy fits that Kubeflow, whose pipelines must be 2.1 or newer."
            )
    return found


def _untrusted(place: str, reason: object) -> RefusedError:
    return RefusedError(
        f"Kubeflow's certificate at {place} is not trusted ({_first(reason)}): name a file with "
        f"the certificate of whoever signed it in ROADWORTHY_KFP_CA_CERT."
    )


def _no_api(place: str) -> RefusedError:
    return RefusedError(
        f"{place} answers with a page for people, not as Kubeflow's API: set ROADWORTHY_KFP_URL to "
        f"the API, and ROADWORTHY_KFP_TOKEN to a token with which one need not sign in."
    )


def _message(body: object) -> str:
    """Return what an answer says, in a line."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return _first(text)
    found = told.get("message") or told.get("error") if isinstance(told, dict) else text
    return _first(found)


def _first(text: object) -> str:
    lines = str(text or "").strip().splitlines() or ["it gives no reason"]
    return lines[0].removesuffix(".")[:_LONGEST_MESSAGE]


def _cause(reason: object) -> str:
    """Return why there was no answer, without the objects of Python's words."""
    for kind, words in (
        (urllib3.exceptions.NameResolutionError, "its name is not known"),
        (urllib3.exceptions.NewConnectionError, "nobody listens there"),
        (urllib3.exceptions.TimeoutError, "it took too long"),
        (urllib3.exceptions.ProtocolError, "it cut the connection"),
    ):
        if isinstance(reason, kind):
            return words
    return type(reason).__name__


def _pause() -> tenacity.wait.wait_base:
    return tenacity.wait_exponential_jitter(initial=0.1, max=2, jitter=0.1)
