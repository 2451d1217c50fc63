"""How a model server is spoken to."""

from __future__ import annotations

import ipaddress

import httpx
from pydantic import SecretStr

from roadworthy.core.settings import presentable

TIMEOUT_SECONDS = 10.0


def connect(url: str, token: SecretStr | None = None, host: str = "") -> httpx.Client:
    """Return a client of the server at an address, which shows the token if there is one.

    ``host`` is the name that is asked for there, where one address, a gateway, answers for many.

    A proxy that the environment names is used for a server elsewhere, and not for one on this
    machine, which no proxy could reach.

    Raises
    ------
    TokenError
        The token is none that can be shown.
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
