"""The OpenAPI document of a server: the requests to the models that it has loaded.

It is made from the loaded bundles, so each model has its own schema. Where a schema cannot express
what is required, such as that all tensors have one length, it says less, never something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.models.tensors import FieldType
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import protocol
from roadworthy.serving.http.guard import OPEN_PATHS
from roadworthy.serving.models.model_store import Held, Served

Json = dict[str, Any]

_PINNED = {
    "name": VERSION_HEADER,
    "in": "header",
    "description": "The version to answer; by traffic weight, if left out.",
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
        What a server has loaded, by model.
    max_rows
        The most rows of a request.
    has_token
        Whether requests need a token.
    has_page
        Whether ``/`` has a page for browsers.
    """
    paths = _server_paths(has_page=has_page)
    for one in held.values():
        served = one.champion or one.challenger
        paths |= _model_paths(one.model)
        if served is not None:
            paths |= _answering_paths(one, served, max_rows)
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Roadworthy",
            "version": "1",
            "description": "KServe's V1 and V2 protocols over the deployed versions.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }
    if has_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
        for path, methods in paths.items():
            if OPEN_PATHS.fullmatch(path):
                for operation in methods.values():
                    operation["security"] = []
    return found


def _server_paths(*, has_page: bool) -> Json:
    names = _array({"type": "string"})
    entry = _object(
        name={"type": "string"},
        version={"type": "string"},
        state={"enum": ["READY", "UNAVAILABLE"]},
        reason={"type": "string"},
    )
    metadata = _object(name={"type": "string"}, version={"type": "string"}, extensions=names)
    root = _operation("Return that the server is alive", _object(status={"const": "alive"}))
    if has_page:
        root["responses"]["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
    metrics = _operation("Return metrics for Prometheus", None)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    index = _operation("Return every version in a route, and whether it is loaded", _array(entry))
    asked = _object(ready={"type": "boolean"}) | {"required": []}
    index["requestBody"] = {"required": False, "content": _content(asked)}
    models = _operation("Return the models", _object(models=names))
    return {
        "/": {"get": root},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": _operation("Return this document", {"type": "object"})},
        "/v1/models": {"get": models},
        "/v2": {"get": _operation("Return what the server is", metadata)},
        "/v2/health/live": {"get": _operation("Return that it is alive", _object(live=_TRUE))},
        "/v2/health/ready": {"get": _operation("Return whether it is ready", _object(ready=_TRUE))},
        "/v2/models": {"get": dict(models)},
        "/v2/repository/index": {"post": index},
    }


def _model_paths(model: str) -> Json:
    name = {"const": model}
    worker = {"type": "object", "required": ["worker", "process", "versions", "split", "state"]}
    ready = _operation("Return whether the model is ready", _object(name=name, ready=_TRUE))
    load = _operation("Read the route now, and load its versions", _object(name=name, load=_TRUE))
    unload = _operation(
        "Read the route now, and unload a model without versions", _object(name=name, unload=_TRUE)
    )
    workers = _operation(
        "Return what every process has loaded", _object(model=name, workers=_array(worker))
    )
    return {
        f"/v1/models/{model}": {"get": ready},
        f"/v2/models/{model}/workers": {"get": workers},
        f"/v2/repository/models/{model}/load": {"post": load},
        f"/v2/repository/models/{model}/unload": {"post": unload},
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
        versions=_array({"type": "string"}),
        platform={"type": "string"},
        inputs=_TENSOR_TYPES,
        outputs=_TENSOR_TYPES,
    )
    ready = _object(name={"const": model}, ready=_TRUE)
    card = {"type": "object", "required": ["model", "version", "request", "answer", "split"]}
    told = {
        "": ("get", "Return its versions and tensors", metadata, None),
        "/ready": ("get", "Return whether a version is ready", ready, None),
        "/card": ("get", "Return what the page shows of it", card, None),
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
    return operation


def _operation(summary: str, answer: Json | None) -> Json:
    response: Json = {"description": f"{summary}."}
    if answer is not None:
        response["content"] = _content(answer)
    refusal = {
        "description": "A 4xx for a request that is refused, 503 for one to send again later.",
        "content": _content({"$ref": "#/components/schemas/Error"}),
    }
    return {"summary": summary, "responses": {"200": response, "default": refusal}}


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
