"""The addresses of an InferenceService, for clients and for one version alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from roadworthy.core.http import connect
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.kserve import inference_service
from roadworthy.rollout.kserve.kserve_settings import KServeSettings, Mode
from roadworthy.routing.routes import VERSION_HEADER

_MISSED = 1e-6
"""The probability at which a version that has its weight is not seen by chance."""


@dataclass(frozen=True)
class Address:
    """An address, and the Host header where it differs."""

    url: str
    host: str = ""


def common(live: Mapping[str, Any], settings: KServeSettings) -> Address:
    """Return the address for clients.

    Raises
    ------
    NotYetError
        KServe reports no address.
    """
    url = (live.get("status") or {}).get("url", "")
    if not url:
        raise NotYetError("KServe reports no address of it yet")
    return _through(url, settings.endpoint)


def own(
    live: Mapping[str, Any],
    mode: Mode,
    version: int,
    settings: KServeSettings,
    find: Callable[[str], str],
) -> Address:
    """Return the address of one version.

    Parameters
    ----------
    find
        Returns the address of a Service; empty if there is none.

    Raises
    ------
    NotYetError
        It has no address yet.
    """
    if mode == "Standard":
        service = inference_service.service_name(live, version)
        if settings.version_endpoint:
            return Address(settings.version_endpoint, f"{service}.{settings.namespace}.svc")
        url = find(service)
        if not url:
            raise NotYetError(f"it has no Service {service} yet")
        return Address(url)
    now = inference_service.read(live, mode)
    if now.challenger is None and not now.pinned:
        return common(live, settings)
    newest = [
        one["url"]
        for one in inference_service.traffic(live)
        if one.get("latestRevision") and one.get("url")
    ]
    if not newest:
        raise NotYetError("Knative reports no address of its newest revision yet")
    return _through(newest[0], settings.version_endpoint or settings.endpoint)


def answering(address: Address, model: str, token: SecretStr, version: int = 0) -> int:
    """Return the version that answers at an address.

    Parameters
    ----------
    version
        The version that the request names; 0 for none, as clients do.

    Raises
    ------
    NotYetError
        None answers.
    """
    headers = {VERSION_HEADER: str(version)} if version else {}
    try:
        with connect(address.url, token, address.host) as client:
            answer = client.get(f"/v2/models/{model}/ready", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cause = str(error) or type(error).__name__
        raise NotYetError(f"it gives no answer at {_named(address)}: {cause}") from error
    told = inference_service.number(answer.headers.get(VERSION_HEADER, ""))
    if not answer.is_success or not told:
        raise NotYetError(f"{_named(address)} answers {answer.status_code} and no version")
    return told


def check_reached(
    address: Address, model: str, token: SecretStr, version: int, weight: int
) -> None:
    """Check that a version answers some of the requests that name no version.

    Parameters
    ----------
    weight
        Its percent of the traffic, above 0 and below 100.

    Raises
    ------
    NotYetError
        It does not, or no version answers.
    """
    count = tries(weight)
    for _ in range(count):
        if answering(address, model, token) == version:
            return
    raise NotYetError(
        f"none of {count} requests at {_named(address)} reached version {version}, which is to "
        f"have {weight} %: check that the gateway splits the traffic (in the mode Standard by "
        f"a KServe newer than 0.20 with the Gateway API)"
    )


def tries(weight: int) -> int:
    """Return the number of requests that a version with a weight [percent] must not miss."""
    return math.ceil(math.log(_MISSED) / math.log1p(-weight / 100))


def _through(url: str, endpoint: str) -> Address:
    return Address(endpoint, httpx.URL(url).netloc.decode()) if endpoint else Address(url)


def _named(address: Address) -> str:
    return f"{address.host} at {address.url}" if address.host else address.url
