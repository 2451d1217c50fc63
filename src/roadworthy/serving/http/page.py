"""The static page that is served beside the models."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

POLICY = "; ".join(
    (
        "default-src 'none'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "style-src 'self'",
        "script-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
    "vary": "accept",
}
API = ("/v1", "/v2", "/metrics", "/openai", "/openapi.json")
"""The paths of the API, which no file of the page can hide."""


class PageMount(Mount):
    """The page under ``/``, except for the paths of the API."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a path belongs to the page."""
        path = scope.get("path", "")
        if any(path == part or path.startswith(f"{part}/") for part in API):
            return Match.NONE, {}
        return super().matches(scope)


class Page(StaticFiles):
    """The files of a directory, with headers that let a browser load nothing from other origins."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, or 404 if its name, or a directory's, begins with a dot."""
        if any(part.startswith(".") for part in path.split("/") if part != "."):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
