"""The OpenAPI document of a server: what can be asked of what it holds, and how it says no.

It is made from the bundles that are held, so each model has its own schema. Where a schema cannot
say what is demanded, such as that all tensors have one length, it says less, never something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from roadworthy.models.tensors import FieldType
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import protocol
from roadworthy.serving.http.guard import OPEN_PATHS
from roadworthy.serving.models.model_store import Held, Served

Json = dict[str, Any]

_REFUSALS = {
    400: "The request is not one, or not what is asked for here.",
    401: "The token is missing, or another one.",
    404: "There is no such model, version or address.",
    408: "The request was not whole in time.",
    409: "The model is on the road.",
    413: "The body is too large, or has too many rows.",
    415: "The body is compressed in another way than gzip.",
    422: "A field is not what it must be, or the model has no answer to it.",
    431: "The request line and the headers are too large.",
    503: "There is nothing to answer with, or too much to do: ask again later.",
}
_ALWAYS = (400, 408, 431, 503)
_PINNED = {
    "name": VERSION_HEADER,
    "in": "header",
    "description": "The version that is to answer; the one whose turn it is, if left out.",
    "schema": {"type": "string"},
}
_ERROR: Json = {
    "type": "object",
    "description": "What is wrong, and what to send instead.",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "field", "problem", "bound", "unit"],
                "additionalProperties": False,
                "properties": {
                    "row": {"type": ["integer", "null"], "description": "Of the batch, from 0."},
                    "field": {"type": ["string", "null"]},
                    "index": {"type": "integer", "description": "Of the list's element, from 0."},
                    "problem": {"type": "string"},
                    "bound": {"type": "string", "description": "What is allowed."},
                    "unit": {"type": "string"},
                    "input": {"description": "What was sent, cut short."},
                },
            },
        },
    },
}
_TENSOR_TYPES: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
        },
    },
}


def document(
    held: Mapping[str, Held], *, max_rows: int, has_token: bool = False, has_page: bool = False
) -> Json:
    """Return the OpenAPI 3.1 document.

    Parameters
    ----------
    held
        What a server holds, by model.
    max_rows
        The most rows of a request.
    has_token
        Whether who asks must show a token.
    has_page
        Whether ``/`` has a page for browsers.
    """
    refusals = (*_ALWAYS, *((401,) if has_token else ()))
    paths = _server_paths(has_page=has_page)
    for one in held.values():
        served = one.champion or one.challenger
        paths |= _model_paths(one.model)
        if served is not None:
            paths |= _answering_paths(one, served, max_rows)
    for path, methods in paths.items():
        is_open = OPEN_PATHS.fullmatch(path) is not None
        for operation in methods.values():
            _refuse(operation, refusals)
            if has_token and is_open:
                operation["security"] = []
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Roadworthy",
            "version": "1",
            "description": "KServe's V1 and V2 protocols over the versions that are on the road.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }
    if has_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _server_paths(*, has_page: bool) -> Json:
    alive = _content(_object(status={"const": "alive"}))
    page = {"text/html": {"schema": {"type": "string"}}} if has_page else {}
    models = _object(models={"type": "array", "items": {"type": "string"}})
    extensions = {"type": "array", "items": {"type": "string"}}
    entry = _object(
        name={"type": "string"},
        version={"type": "string"},
        state={"enum": ["READY", "UNAVAILABLE"]},
        reason={"type": "string"},
    )
    asked = _object(ready={"type": "boolean"}) | {"required": []}
    index = _operation("Every version on the road, and whether it is loaded", _array(entry))
    index["requestBody"] = {"required": False, "content": _content(asked)}
    _also(index, 413)
    metrics = _operation("Figures for Prometheus", None)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    root = _operation("Whether the server lives", None)
    root["responses"]["200"]["content"] = alive | page
    return {
        "/": {"get": root},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": _operation("This document", {"type": "object"})},
        "/v1/models": {"get": _operation("The models", models)},
        "/v2": {
            "get": _operation(
                "What the server is",
                _object(name={"type": "string"}, version={"type": "string"}, extensions=extensions),
            )
        },
        "/v2/health/live": {"get": _operation("Whether the server lives", _object(live=_TRUE))},
        "/v2/health/ready": {"get": _operation("Whether a model answers", _object(ready=_TRUE))},
        "/v2/models": {"get": _operation("The models", models)},
        "/v2/repository/index": {"post": index},
    }


def _model_paths(model: str) -> Json:
    ready = _object(name={"const": model}, ready=_TRUE)
    loaded = _operation(
        "Look at the road now; answered when all on it is loaded",
        _object(name={"const": model}, load=_TRUE),
    )
    unloaded = _operation(
        "Look at the road now; answered when no version is on it",
        _object(name={"const": model}, unload=_TRUE),
    )
    holding = {"type": "object", "required": ["worker", "process", "versions", "split", "state"]}
    holdings = _object(model={"const": model}, workers=_array(holding))
    every = _operation("What every process of the server holds of it", holdings)
    return {
        f"/v1/models/{model}": {"get": _also(_operation("Whether the model answers", ready), 404)},
        f"/v2/models/{model}/workers": {"get": _also(every, 404)},
        f"/v2/repository/models/{model}/load": {"post": _also(loaded, 404)},
        f"/v2/repository/models/{model}/unload": {"post": _also(unloaded, 404, 409)},
    }


def _answering_paths(held: Held, served: Served, max_rows: int) -> Json:
    model = held.model
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": sorted(held.versions, key=int)},
    }
    metadata = _object(
        name={"const": model},
        versions={"type": "array", "items": {"type": "string"}},
        platform={"type": "string"},
        inputs=_TENSOR_TYPES,
        outputs=_TENSOR_TYPES,
    )
    ready = _object(name={"const": model}, ready=_TRUE)
    card = {"type": "object", "required": ["model", "version", "request", "answer", "split"]}
    told = {
        "": ("get", "Its versions and tensors", metadata, None),
        "/ready": ("get", "Whether a version answers", ready, None),
        "/card": ("get", "What the page shows of it", card, None),
        "/infer": ("post", "Answer a tensor per field", _v2_answer(served), _v2(served, max_rows)),
    }
    predict = _asked(
        "Answer a list of instances",
        _object(predictions=_array(_inline(served.manifest.answer))),
        _v1(served, max_rows),
    )
    predict["requestBody"]["description"] = "JSON, or one row as a form: multipart/form-data."
    if served.schema.has_images:
        predict["requestBody"]["content"]["multipart/form-data"] = {"schema": _form(served)}
    paths: Json = {f"/v1/models/{model}:predict": {"post": predict}}
    for path, (method, summary, answer, request) in told.items():
        for prefix, parameters in (("", [_PINNED]), ("/versions/{version}", [version])):
            operation = _asked(summary, answer, request)
            operation["parameters"] = parameters
            if path == "/card":
                operation["responses"]["304"] = {"description": "The card is the one you have."}
            paths[f"/v2/models/{model}{prefix}{path}"] = {method: operation}
    return paths


def _v1(served: Served, max_rows: int) -> Json:
    rows = _array(_inline(served.manifest.request)) | {"minItems": 1}
    return _object(instances=rows | {"description": _most(max_rows)})


def _v2(served: Served, max_rows: int) -> Json:
    tensors = [_tensor(field, served, max_rows) for field in served.schema.fields.values()]
    wanted = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": list(served.scorer.outputs)}},
    }
    return {
        "type": "object",
        "description": "All tensors have one length, and each field is there once.",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": ["string", "null"]},
            "model_name": {},
            "model_version": {},
            "parameters": {},
            "inputs": {"type": "array", "minItems": 1, "items": {"anyOf": tensors}},
            "outputs": {"type": ["array", "null"], "items": wanted},
        },
    }


def _form(served: Served) -> Json:
    fields = served.schema.fields.values()
    file = {"type": "string", "format": "binary"}
    parts = {field.name: file if field.image else {"type": "string"} for field in fields}
    return _object(**parts) | {"required": [field.name for field in fields if field.required]}


def _tensor(field: FieldType, served: Served, max_rows: int) -> Json:
    value = _inline(served.manifest.request)["properties"][field.name]
    element = value.get("items", value)
    datatypes = protocol.datatypes(field)
    shapes = [_shape(one) for name in datatypes for one in protocol.shapes(field, name)]
    missing = [] if field.required else [{"type": "null"}, {"const": ""}]
    values = {"anyOf": [element, _array(element), *missing]} if field.image is None else {}
    return {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "additionalProperties": False,
        "properties": {
            "name": {"const": field.name},
            "datatype": {"enum": list(datatypes)},
            "shape": {"anyOf": shapes, "description": _most(max_rows)},
            "data": {
                "type": ["array", "null"],
                "description": "Left out for a tensor that is sent as bytes after the JSON.",
                "items": values,
            },
            "parameters": {},
        },
    }


def _shape(sizes: Sequence[int | str]) -> Json:
    free = {"type": "integer", "minimum": 1}
    parts = [free if isinstance(size, str) else {"const": size} for size in sizes]
    count = len(sizes)
    return {"type": "array", "minItems": count, "maxItems": count, "prefixItems": parts}


def _v2_answer(served: Served) -> Json:
    known = protocol.output_types(served)
    output = _object(
        name={"enum": [one["name"] for one in known]},
        datatype={"enum": sorted({one["datatype"] for one in known})},
        shape=_array({"type": "integer"}),
        data=_array({"type": ["number", "string", "boolean"]}),
    )
    answer = _object(
        model_name={"const": served.manifest.model},
        model_version={"type": "string"},
        id={"type": "string"},
        outputs=_array(output),
    )
    answer["required"].remove("id")
    return answer


def _inline(schema: Mapping[str, Any]) -> Json:
    """Return the schema of an object with its definitions put where they are used."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(one) for one in part]
        if not isinstance(part, Mapping):
            return part
        found = definitions.get(str(part.get("$ref", "")).removeprefix("#/$defs/"), {})
        return {key: inline(one) for key, one in {**found, **part}.items() if key != "$ref"}

    whole = inline({key: value for key, value in schema.items() if key != "$defs"})
    return {**whole, "additionalProperties": False}


def _asked(summary: str, answer: Json, request: Json | None) -> Json:
    """Return an operation that a version answers."""
    operation = _operation(summary, answer)
    operation["parameters"] = [_PINNED]
    operation["responses"]["200"]["headers"] = {
        VERSION_HEADER: {"description": "The version that answered.", "schema": {"type": "string"}}
    }
    if request is not None:
        operation["requestBody"] = {"required": True, "content": _content(request)}
        _also(operation, 413, 415, 422)
    return _also(operation, 404)


def _operation(summary: str, answer: Json | None) -> Json:
    response: Json = {"description": f"{summary}."}
    if answer is not None:
        response["content"] = _content(answer)
    return {"summary": summary, "responses": {"200": response}}


def _also(operation: Json, *statuses: int) -> Json:
    _refuse(operation, statuses)
    return operation


def _refuse(operation: Json, statuses: Iterable[int]) -> None:
    error = _content({"$ref": "#/components/schemas/Error"})
    for status in statuses:
        refusal: Json = {"description": _REFUSALS[status], "content": error}
        operation["responses"][str(status)] = refusal


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _most(rows: int) -> str:
    # More rows are too large a request (413). A bound in the schema would promise another refusal.
    return f"At most {rows} rows at a time."


_TRUE: Json = {"const": True}
