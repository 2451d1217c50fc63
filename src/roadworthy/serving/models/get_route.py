"""A version's GET addresses: a query becomes a request, and its answer a document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from roadworthy.bundles.bundle import BundleError, Manifest
from roadworthy.bundles.scoring import Columns
from roadworthy.models import tensors
from roadworthy.models.routes import Latest, Route, resolve
from roadworthy.serving.models.rejection import Rejection, unavailable
from roadworthy.serving.models.validation import SHOWN_CHARACTERS, RequestSchema

Known = dict[str, Mapping[str, Any]]
"""The values that a route refers to, by namespace and name."""


class RouteRequest(NamedTuple):
    """The request of a route, as columns of one row, and what its response refers to."""

    columns: Columns
    known: Known
    stale: str


class GetRoute:
    """A route of a loaded version.

    Parameters
    ----------
    route
        The route.
    schema
        The schema of the version's requests.
    """

    def __init__(self, route: Route, schema: RequestSchema) -> None:
        self.route = route
        self._schema = schema
        self._parameters = RequestSchema(
            {
                "properties": route.parameters,
                "required": [
                    name for name, one in route.parameters.items() if "default" not in one
                ],
            }
        )

    def read(self, query: bytes, latest: Latest | None, model: Mapping[str, Any]) -> RouteRequest:
        """Return the request of a query.

        Parameters
        ----------
        query
            The encoded query.
        latest
            The newest request, where one is known.
        model
            Name, version and alias of the model that answers.

        Raises
        ------
        Rejection
            422 for a query parameter, 503 while a request that the route needs is not known or does
            not fit this version.
        """
        known: Known = {"query": self._query(query), "model": model, "latest": {}}
        if latest is not None:
            known["latest"] = {**latest.facts, "as_of": latest.as_of}
        if not self.route.needs_latest:
            return RouteRequest(self._columns(self._fields(known)), known, "")
        if latest is None:
            raise unavailable(
                f"{model['name']} has no latest data yet, which {self.route.path} needs: "
                f"ingest its data, or start the server with --latest."
            )
        stale = latest.staleness(datetime.now(UTC))
        if self.route.request != "latest":
            return RouteRequest(self._columns(self._fields(known)), known, stale)
        try:
            return RouteRequest(self._columns(latest.request), known, stale)
        except Rejection as rejection:
            raise unavailable(
                f"The latest data of {model['name']} is no request of version "
                f"{model['version']} ({rejection.sentence}): ingest its data again."
            ) from None

    def respond(self, request: RouteRequest, answers: Columns) -> bytes:
        """Return the response as JSON."""
        (answer,) = tensors.records(answers)
        known = request.known | {"answer": answer}
        document = {key: resolve(value, known) for key, value in self.route.answer.items()}
        stale = {"stale": request.stale} if request.stale else {}
        return orjson.dumps((document or answer) | stale)

    def _fields(self, known: Known) -> dict[str, Any]:
        assert not isinstance(self.route.request, str)  # noqa: S101 - see read
        return {name: resolve(value, known) for name, value in self.route.request.items()}

    def _columns(self, request: Mapping[str, Any]) -> Columns:
        return self._schema.columns(self._schema.rows([dict(request)]))

    def _query(self, query: bytes) -> dict[str, Any]:
        """Return the valid query parameters, with defaults."""
        fields = self._parameters.fields
        row: dict[str, Any] = {}
        for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            shown = name[:SHOWN_CHARACTERS]
            if name not in fields:
                known = f"the parameters are {', '.join(fields)}" if fields else "there are none"
                raise Rejection(422, f"The query has an unknown parameter {shown}: {known}.")
            if name in row:
                raise Rejection(422, f"The query has {shown} twice: send it once.")
            row[name] = text if fields[name].kind == "string" else _loaded(text)
        (checked,) = self._parameters.rows([row])
        defaults = {
            name: one["default"] for name, one in self.route.parameters.items() if "default" in one
        }
        whole = {
            name: int(value) if fields[name].kind == "integer" else value
            for name, value in checked.items()
        }
        return defaults | whole


def read_routes(manifest: Manifest, schema: RequestSchema) -> dict[str, GetRoute]:
    """Return the routes of a version by path.

    Raises
    ------
    BundleError
        A route refers to something that does not exist, or has a parameter that is no field.
    """
    answer = tensors.parse(manifest.answer)
    for route in manifest.routes:
        try:
            route.check(schema.fields, answer)
        except ValueError as error:
            raise BundleError(f"{error} Correct the model's routes.") from error
    return {route.path: GetRoute(route, schema) for route in manifest.routes}


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
