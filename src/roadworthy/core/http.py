"""Connect to a model server."""

from __future__ import annotations

import ipaddress

import httpx
from pydantic import SecretStr

from roadworthy.core.settings import presentable

TIMEOUT_SECONDS = 10.0


def connect(url: str, token: SecretStr | None = None, host: str = "") -> httpx.Client:
    """Return a client of the server at an address, which sends the token if there is one.

    ``host`` is the Host header, for a gateway that serves many hosts at one address.

    A proxy that the environment names is used for a server elsewhere, and not for one on this
    machine, which no proxy could reach.

    Raises
    ------
    TokenError
        The token is invalid as a header.
    """
    client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=not _is_here(url))
    client.headers["accept"] = "application/json"
    if host:
        client.headers["host"] = host
    # The client's own complaint of a header that cannot be sent would tell the token.
    if shown := presentable(token or SecretStr("")).get_secret_value():
        client.headers["authorization"] = f"Bearer {shown}"
    return client


def _is_here(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
