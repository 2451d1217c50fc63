"""The OpenAPI document of a server, with the schemas of the models that it has loaded.

Where a JSON schema cannot express a rule, such as tensors of one length, the document is less
strict than the server, and never contradicts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.models.routes import Route
from roadworthy.models.tensors import FieldType
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import protocol
from roadworthy.serving.http.guard import OPEN_PATHS
from roadworthy.serving.models.model_store import LoadedVersion, ModelVersions

Json = dict[str, Any]


def _object(optional: Sequence[str] = (), /, **properties: Json) -> Json:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
        "properties": properties,
    }


def _array(items: Json, **keywords: Any) -> Json:
    return {"type": "array", "items": items, **keywords}


_STRING: Json = {"type": "string"}
_TRUE: Json = {"const": True}
_INTEGER: Json = {"type": "integer"}
_ANY_OBJECT: Json = {"type": "object"}
_DETAIL = _object(
    ("index", "input"),
    row={"type": ["integer", "null"], "description": "The row of the batch, from 0."},
    field={"type": ["string", "null"]},
    index=_INTEGER | {"description": "The element of a list, from 0."},
    problem=_STRING,
    bound=_STRING | {"description": "The values that are allowed."},
    unit=_STRING,
    input={"description": "The value that was sent, shortened."},
)
_ERROR = _object(("details",), error=_STRING, details=_array(_DETAIL)) | {
    "description": "What is wrong, and what to send instead."
}
_PINNED = {
    "name": VERSION_HEADER,
    "in": "header",
    "description": "The version to answer. Without it, traffic weights decide.",
    "schema": _STRING,
}
_TENSOR_TYPES = _array(_object(name=_STRING, datatype=_STRING, shape=_array(_INTEGER)))


def document(
    models: Mapping[str, ModelVersions],
    *,
    max_rows: int,
    has_token: bool = False,
    has_page: bool = False,
) -> Json:
    """Return the OpenAPI 3.1 document.

    Parameters
    ----------
    models
        The loaded versions by model.
    max_rows
        The most rows of a request.
    has_token
        Whether requests need a token.
    has_page
        Whether ``/`` has a page for browsers.
    """
    paths = _server_paths(has_page=has_page)
    for model in models.values():
        paths |= _model_paths(model.name)
        loaded = model.champion or model.challenger
        if loaded is not None:
            paths |= _version_paths(model, loaded, max_rows)
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
    states = {"enum": ["READY", "UNAVAILABLE"]}
    entry = _object(name=_STRING, version=_STRING, state=states, reason=_STRING)
    server = _object(name=_STRING, version=_STRING, extensions=_array(_STRING))
    models = _object(models=_array(_STRING))
    root = _operation("Return that the server is alive", _object(status={"const": "alive"}))
    if has_page:
        root["responses"]["200"]["content"]["text/html"] = {"schema": _STRING}
    metrics = _operation("Return metrics for Prometheus", None)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _STRING}}
    index = _operation(
        "Return the deployed versions, and whether they are loaded",
        _array(entry),
        _object(("ready",), ready={"type": "boolean"}),
    )
    index["requestBody"]["required"] = False
    return {
        "/": {"get": root},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": _operation("Return this document", _ANY_OBJECT)},
        "/v1/models": {"get": _operation("Return the models", models)},
        "/v2": {"get": _operation("Return the server's metadata", server)},
        "/v2/health/live": {"get": _operation("Return that it is alive", _object(live=_TRUE))},
        "/v2/health/ready": {"get": _operation("Return whether it is ready", _object(ready=_TRUE))},
        "/v2/models": {"get": _operation("Return the models", models)},
        "/v2/repository/index": {"post": index},
    }


def _model_paths(model: str) -> Json:
    name = {"const": model}
    worker = {
        "type": "object",
        "required": ["worker", "process", "versions", "split", "state"],
    }
    states = {
        f"/v1/models/{model}": ("get", "Return whether the model is ready", {"ready": _TRUE}),
        f"/v2/repository/models/{model}/load": (
            *("post", "Apply the routing file, and load its versions"),
            {"load": _TRUE},
        ),
        f"/v2/repository/models/{model}/unload": (
            *("post", "Apply the routing file, and unload a model without versions"),
            {"unload": _TRUE},
        ),
    }
    paths: Json = {
        path: {method: _operation(summary, _object(name=name, **answer))}
        for path, (method, summary, answer) in states.items()
    }
    workers = _object(model=name, workers=_array(worker))
    summary = "Return the versions that each process has loaded"
    return paths | {f"/v2/models/{model}/workers": {"get": _operation(summary, workers)}}


def _version_paths(model: ModelVersions, loaded: LoadedVersion, max_rows: int) -> Json:
    name: Json = {"const": model.name}
    metadata = _object(
        name=name,
        versions=_array(_STRING),
        platform=_STRING,
        inputs=_TENSOR_TYPES,
        outputs=_TENSOR_TYPES,
    )
    card = {"type": "object", "required": ["model", "version", "request", "answer", "split"]}
    operations: list[tuple[str, str, str, Json, Json | None]] = [
        ("", "get", "Return its versions and tensors", metadata, None),
        (
            "/ready",
            "get",
            "Return whether a version is ready",
            _object(name=name, ready=_TRUE),
            None,
        ),
        ("/card", "get", "Return the content of its page", card, None),
        ("/infer", "post", "Answer a tensor per field", _v2_answer(loaded), _v2(loaded, max_rows)),
    ]
    predict = _operation(
        "Answer a list of instances",
        _object(predictions=_array(_inline(loaded.manifest.answer))),
        _object(
            instances=_array(
                _inline(loaded.manifest.request), minItems=1, description=_most(max_rows)
            )
        ),
        _PINNED,
    )
    predict["requestBody"]["description"] = "JSON, or one row as a form: multipart/form-data."
    if loaded.schema.has_images:
        predict["requestBody"]["content"]["multipart/form-data"] = {"schema": _form(loaded)}
    paths: Json = {f"/v1/models/{model.name}:predict": {"post": predict}}
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": sorted(model.versions, key=int)},
    }
    for path, method, summary, answer, request in operations:
        for prefix, parameter in (("", _PINNED), ("/versions/{version}", version)):
            operation = _operation(summary, answer, request, parameter)
            if path == "/infer":
                content = operation["responses"]["200"]["content"]
                content["application/octet-stream"] = {}  # where outputs are asked for in binary
            if path == "/card":
                operation["responses"]["304"] = {"description": "The card has not changed."}
            paths[f"/v2/models/{model.name}{prefix}{path}"] = {method: operation}
    return paths | {path: {"get": _get(one.route)} for path, one in loaded.routes.items()}


def _get(route: Route) -> Json:
    operation = _operation(
        route.description.rstrip(".") or "Answer a query", _ANY_OBJECT, None, _PINNED
    )
    operation["parameters"] += [
        {"name": name, "in": "query", "required": "default" not in schema, "schema": schema}
        for name, schema in route.parameters.items()
    ]
    return operation


def _v2(loaded: LoadedVersion, max_rows: int) -> Json:
    tensors = [_tensor(field, loaded, max_rows) for field in loaded.schema.fields.values()]
    name = {"enum": list(loaded.scorer.outputs)}
    return _object(
        ("id", "model_name", "model_version", "parameters", "outputs"),
        id={"type": ["string", "null"]},
        model_name={},
        model_version={},
        parameters={},
        inputs=_array({"anyOf": tensors}, minItems=1),
        outputs={
            "type": ["array", "null"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": name}},
        },
    ) | {"description": "All tensors have one length, and each field is sent once."}


def _form(loaded: LoadedVersion) -> Json:
    fields = loaded.schema.fields.values()
    file = {"type": "string", "format": "binary"}
    optional = [field.name for field in fields if not field.required]
    return _object(optional, **{field.name: file if field.image else _STRING for field in fields})


def _tensor(field: FieldType, loaded: LoadedVersion, max_rows: int) -> Json:
    value = _inline(loaded.manifest.request)["properties"][field.name]
    element = value.get("items", value)
    datatypes = protocol.datatypes(field)
    shapes = [_shape(one) for name in datatypes for one in protocol.shapes(field, name)]
    missing = [] if field.required else [{"type": "null"}, {"const": ""}]
    values = {"anyOf": [element, _array(element), *missing]} if field.image is None else {}
    return _object(
        ("data", "parameters"),
        name={"const": field.name},
        datatype={"enum": list(datatypes)},
        shape={"anyOf": shapes, "description": _most(max_rows)},
        data={
            "type": ["array", "null"],
            "description": "Left out for a tensor that is sent as bytes after the JSON.",
            "items": values,
        },
        parameters={},
    )


def _shape(sizes: Sequence[int | str]) -> Json:
    free = {"type": "integer", "minimum": 1}
    parts = [free if isinstance(size, str) else {"const": size} for size in sizes]
    count = len(sizes)
    return {"type": "array", "minItems": count, "maxItems": count, "prefixItems": parts}


def _v2_answer(loaded: LoadedVersion) -> Json:
    outputs = protocol.output_types(loaded)
    output = _object(
        name={"enum": [one["name"] for one in outputs]},
        datatype={"enum": sorted({one["datatype"] for one in outputs})},
        shape=_array(_INTEGER),
        data=_array({"type": ["number", "string", "boolean"]}),
    )
    return _object(
        ("id",),
        model_name={"const": loaded.manifest.model},
        model_version=_STRING,
        id=_STRING,
        outputs=_array(output),
    )


def _inline(schema: Mapping[str, Any]) -> Json:
    """Return the schema of an object, with each reference replaced by its definition."""
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


def _operation(
    summary: str, answer: Json | None, request: Json | None = None, parameter: Json | None = None
) -> Json:
    """Return an operation. One with a parameter is a version's."""
    response: Json = {"description": f"{summary}."}
    if answer is not None:
        response["content"] = _content(answer)
    error = {
        "description": "A 4xx for a request that is refused, 503 for one to send again later.",
        "content": _content({"$ref": "#/components/schemas/Error"}),
    }
    operation: Json = {"summary": summary, "responses": {"200": response, "default": error}}
    if parameter is not None:
        operation["parameters"] = [parameter]
        header = {"description": "The version that answered.", "schema": _STRING}
        response["headers"] = {VERSION_HEADER: header}
    if request is not None:
        operation["requestBody"] = {"required": True, "content": _content(request)}
    return operation


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _most(rows: int) -> str:
    # A bound in the schema would promise 422 for more rows, which are refused with 413.
    return f"At most {rows} rows at a time."
