"""KServe's two protocols: from the bytes of a request to columns, and from columns to bytes.

V1 is a list of instances and a list of predictions. V2, the Open Inference Protocol, is one tensor
per field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from roadworthy.bundles.scoring import Columns
from roadworthy.serving.models.model_store import Held, Served
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.validation import Field

_NUMBERS: dict[str, str] = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
_TENSOR_KEYS = {"name", "shape", "datatype", "data", "parameters"}
_REQUEST_KEYS = {"id", "inputs", "outputs", "parameters", "model_name", "model_version"}
_NESTED = ("depth limit exceeded", "recursion limit reached", "failed to allocate memory")
"""What the parser says of objects within objects, in its versions."""
_WHAT_V1 = 'send {"instances": [{...}, ...]}'
_WHAT_V2 = 'send {"inputs": [{"name": ..., "shape": [N], "datatype": ..., "data": [...]}, ...]}'


class Instances(NamedTuple):
    """A V1 request: the columns."""

    columns: Columns


@dataclass(frozen=True)
class Inference:
    """A V2 request: the columns, what to call the answer, and which outputs are wanted."""

    columns: Columns
    identity: str | None
    outputs: Sequence[str]


def read_v1(body: bytes, served: Served, max_rows: int) -> Instances:
    """Return what a V1 request asks.

    Raises
    ------
    Rejection
        400 for what is not JSON or not a list of instances, 413 for too many, 422 for a field.
    """
    document = _document(body, _WHAT_V1)
    instances = document.get("instances")
    if type(instances) is not list or len(document) != 1:
        raise Rejection(400, f"The body is not a list of instances: {_WHAT_V1}.")
    _check_count(len(instances), max_rows)
    rows = served.schema.rows(instances)
    _check_keys(body, 1 + sum(map(len, rows)))
    return Instances(served.scorer.columns(rows))


def answer_v1(answers: Columns) -> bytes:
    """Return a V1 answer: one object per row.

    The numbers are written in one go and put into a template of a row, which for many rows takes
    half as long as making and writing an object for each.
    """
    rows = zip(*(column.tolist() for column in answers.values()), strict=True)
    numbers = orjson.dumps(list(chain.from_iterable(rows)))[1:-1].split(b",")
    row = _row(tuple(answers))
    template = b",".join([row] * (len(numbers) // len(answers)))
    return b'{"predictions":[%b]}' % (template % tuple(numbers))


@lru_cache
def _row(names: tuple[str, ...]) -> bytes:
    """Return one object with a place for the number of each name."""
    keys = (orjson.dumps(name).replace(b"%", b"%%") for name in names)
    return b"{%b}" % b",".join(key + b":%b" for key in keys)


def predictions(answers: Columns) -> list[dict[str, float]]:
    """Return one object per row."""
    rows = zip(*(column.tolist() for column in answers.values()), strict=True)
    return [dict(zip(answers, row, strict=True)) for row in rows]


def read_v2(body: bytes, json_length: bytes | None, served: Served, max_rows: int) -> Inference:
    """Return what a V2 request asks.

    Parameters
    ----------
    body
        The body: JSON, and after it the tensors that are sent as bytes.
    json_length
        The header ``inference-header-content-length``: how much of the body is JSON, or nothing
        when all of it is.
    served
        The version that is to answer.
    max_rows
        The most rows.

    Raises
    ------
    Rejection
        400 for what is not JSON or not a list of tensors, 413 for too many rows, 422 for a field.
    """
    text, tail = _parts(body, json_length)
    document = _document(text, _WHAT_V2)
    inference = infer(document, tail, served, max_rows)
    _check_keys(text, _keys(document))
    return inference


def infer(document: Mapping[str, Any], tail: bytes, served: Served, max_rows: int) -> Inference:
    """Return what a parsed V2 request asks; see :func:`read_v2`."""
    inputs = document.get("inputs")
    if type(inputs) is not list or not inputs or not _REQUEST_KEYS.issuperset(document):
        raise Rejection(400, f"The body is not a list of inputs: {_WHAT_V2}.")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise Rejection(400, "The id of a request is a word: send it in quotes, or none.")
    outputs = _wanted(document.get("outputs"), served)
    said: dict[str, list[Any]] = {}
    rows: int | None = None
    for tensor in inputs:
        name, values, tail = _tensor(tensor, tail, served, rows, max_rows)
        if name in said:
            raise Rejection(400, f"The input {name} is sent twice: send one tensor per field.")
        rows = len(values)
        said[name] = values
    if tail:
        raise Rejection(400, f"{len(tail)} bytes follow the last tensor: leave them out.")
    served.schema.missing([name for name in served.schema.fields if name not in said])
    return Inference(_filled(said, rows or 0, served), identity, outputs)


def answer_v2(inference: Inference, answers: Columns, served: Served) -> bytes:
    """Return a V2 answer: one tensor per field."""
    document: dict[str, Any] = {
        "model_name": served.manifest.model,
        "model_version": str(served.version),
    }
    if inference.identity is not None:
        document["id"] = inference.identity
    document["outputs"] = outputs(inference, answers)
    return orjson.dumps(document)


def outputs(inference: Inference, answers: Columns) -> list[dict[str, Any]]:
    """Return the tensors of an answer that were asked for."""
    return [
        {
            "name": name,
            "shape": [len(answers[name])],
            "datatype": "FP64",
            "data": answers[name].tolist(),
        }
        for name in inference.outputs
    ]


def metadata(held: Held, served: Served | None) -> dict[str, Any]:
    """Return the V2 metadata of a model: its versions and tensors, none of which has a width."""
    return {
        "name": held.model,
        "versions": sorted(held.versions, key=int),
        "platform": "onnx_onnxv1",
        "inputs": input_types(served),
        "outputs": output_types(served),
    }


def input_types(served: Served | None) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each input of a version."""
    fields = served.schema.fields.values() if served else ()
    return [{"name": field.name, "datatype": _datatype(field), "shape": [-1]} for field in fields]


def output_types(served: Served | None) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each output of a version."""
    names = served.scorer.outputs if served else ()
    return [{"name": name, "datatype": "FP64", "shape": [-1]} for name in names]


def card(held: Held, served: Served) -> bytes:
    """Return what the page shows of a version."""
    manifest = served.manifest
    challenger = held.challenger
    return orjson.dumps(
        {
            "model": held.model,
            "version": served.version,
            "since": served.release.since,
            "digest": served.release.digest,
            "commit": manifest.commit,
            "candidate": manifest.candidate,
            "metrics": dict(manifest.metrics),
            "request": dict(manifest.request),
            "answer": dict(manifest.answer),
            "title": getattr(manifest, "title", ""),
            "task": getattr(manifest, "task", ""),
            "page": dict(served.page),
            "points": dict(served.points),
            "challenger": None if challenger is None else challenger.version,
            "state": held.state,
            "split": [
                {"version": part.served.version, "role": part.role, "share": part.share}
                for part in held.split
            ],
        }
    )


def datatypes(field: Field) -> Sequence[str]:
    """Return the datatypes in which a field can be sent."""
    return ("BYTES",) if field.kind == "string" else tuple(_NUMBERS)


def _document(body: bytes, remedy: str) -> dict[str, Any]:
    if not body:
        raise Rejection(400, f"The body is empty: {remedy}.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if error.msg in _NESTED:
            raise Rejection(400, f"The body is nested too deeply: {remedy}.") from None
        raise Rejection(400, f"The body is not JSON ({error}): {remedy}.") from None
    if type(document) is not dict:
        raise Rejection(400, f"The body is not an object: {remedy}.")
    return document


def _check_count(rows: int, max_rows: int) -> None:
    if not rows:
        raise Rejection(400, "There is no row to answer: send at least one.")
    if rows > max_rows:
        raise Rejection(413, f"{rows} rows are too many: send at most {max_rows} at a time.")


def _check_keys(text: bytes, keys: int) -> None:
    """Refuse a text in which an object says a key twice, of which the parser keeps the last.

    Every key is followed by a colon, so when a text has as many colons as the parsed document has
    keys, no key was lost. Only a text with more of them is read again, by the slower parser.
    """
    if text.count(b":") != keys:
        try:
            # the first parser has made sure of the numbers, and a long one takes Python long
            json.loads(text, object_pairs_hook=_unique, parse_int=len, parse_float=len)
        except RecursionError:
            raise Rejection(400, "The body is nested too deeply: send flat objects.") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise Rejection(400, f"The key {json.dumps(name[:100])} is said twice: say it once.")
        unique[name] = value
    return unique


def _keys(document: Mapping[str, Any]) -> int:
    """Return how many keys a request has where it should have any."""
    parts = [part for key in ("inputs", "outputs") for part in document.get(key) or ()]
    objects: list[Any] = [document, *parts]
    objects += [one.get("parameters") for one in objects]
    return sum(len(one) for one in objects if type(one) is dict)


def _parts(body: bytes, json_length: bytes | None) -> tuple[bytes, bytes]:
    if json_length is None:
        return body, b""
    length = int(json_length) if json_length.isdigit() and len(json_length) < 10 else -1
    if not 0 <= length <= len(body):
        raise Rejection(
            400,
            "The header inference-header-content-length does not fit the body: "
            "send the length of its JSON in bytes.",
        )
    return body[:length], body[length:]


def _wanted(wanted: Any, served: Served) -> Sequence[str]:
    known = served.scorer.outputs
    if wanted is None or wanted == []:
        return known
    names = [part.get("name") if type(part) is dict else None for part in _list(wanted)]
    if any(name not in known for name in names):
        remedy = f"ask for some of {', '.join(known)}, or leave outputs out"
        raise Rejection(400, f"The request asks for an output that there is not: {remedy}.")
    return [name for name in known if name in names]


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise Rejection(400, 'The outputs are not a list: send [{"name": ...}], or none.')
    return value


def _tensor(
    tensor: Any, tail: bytes, served: Served, rows: int | None, max_rows: int
) -> tuple[str, list[Any], bytes]:
    """Return name and values of a tensor, and the bytes that are left for the next ones."""
    if type(tensor) is not dict or not _TENSOR_KEYS.issuperset(tensor):
        raise Rejection(400, f"An input is not a tensor: {_WHAT_V2}.")
    name = tensor.get("name")
    if type(name) is not str:
        raise Rejection(400, f"An input has no name: {_WHAT_V2}.")
    if name not in served.schema.fields:
        raise served.schema.unknown(name)
    datatype = _checked_datatype(served.schema.fields[name], tensor.get("datatype"), served)
    count = _length(name, tensor.get("shape"))
    _check_count(count, max_rows)
    if rows is not None and count != rows:
        raise Rejection(
            400, f"The input {name} has {count} rows, the one before it {rows}: send as many."
        )
    values, tail = _values(name, tensor, datatype, count, tail)
    checked = served.schema.column(name, values)
    if datatype.startswith("INT"):
        _check_whole(name, checked, served)
    return name, checked, tail


def _checked_datatype(field: Field, datatype: Any, served: Served) -> str:
    allowed = datatypes(field)
    if type(datatype) is not str or datatype not in allowed:
        problem = f"is of a datatype that is none of {', '.join(allowed)}"
        raise served.schema.refusal(None, field.name, problem, datatype)
    return datatype


def _length(name: str, shape: Any) -> int:
    flat = type(shape) is list and 1 <= len(shape) <= 2 and all(type(n) is int for n in shape)
    if not flat or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise Rejection(400, f"The shape of {name} is not that of a column: send [N] or [N, 1].")
    return int(shape[0])


def _values(
    name: str, tensor: Mapping[str, Any], datatype: str, count: int, tail: bytes
) -> tuple[list[Any], bytes]:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(tail) or tensor.get("data") is not None:
            raise Rejection(400, f"The bytes of {name} are not there: send binary_data_size bytes.")
        return _unpacked(name, tail[:size], datatype, count), tail[size:]
    data = tensor.get("data")
    if type(data) is not list:
        raise Rejection(400, f"The data of {name} is not a list: send a list of {count}.")
    if len(tensor["shape"]) == 2 and all(type(one) is list and len(one) == 1 for one in data):
        data = [one[0] for one in data]
    if len(data) != count:
        raise Rejection(
            400, f"The data of {name} has {len(data)} values, its shape says {count}: send as many."
        )
    return data, tail


def _unpacked(name: str, packed: bytes, datatype: str, count: int) -> list[Any]:
    """Return the values of a tensor that is sent as bytes, little-endian, words by length."""
    if datatype == "BYTES":
        values = _words(name, packed)
    else:
        width = np.dtype(_NUMBERS[datatype]).itemsize
        if len(packed) != width * count:
            raise Rejection(
                400, f"The tensor {name} has {len(packed)} bytes: send {width} for each value."
            )
        values = np.frombuffer(packed, _NUMBERS[datatype]).tolist()
    if len(values) != count:
        raise Rejection(
            400, f"The tensor {name} has {len(values)} values, its shape says {count}: be exact."
        )
    return values


def _words(name: str, packed: bytes) -> list[Any]:
    words: list[Any] = []
    start = 0
    while start < len(packed):
        end = start + 4 + int.from_bytes(packed[start : start + 4], "little")
        if len(packed) < end:
            raise Rejection(400, f"The tensor {name} ends in the middle of a word: send it whole.")
        try:
            words.append(packed[start + 4 : end].decode())
        except UnicodeDecodeError:
            raise Rejection(400, f"The tensor {name} is not UTF-8: encode its words so.") from None
        start = end
    return words


def _check_whole(name: str, values: Iterable[float], served: Served) -> None:
    for row, value in enumerate(values):
        if not value.is_integer():
            raise served.schema.refusal(row, name, "is not a whole number", value)


def _filled(said: Mapping[str, list[Any]], rows: int, served: Served) -> Columns:
    columns = {}
    for name, dtype in served.scorer.inputs.items():
        left_out: Any = "" if dtype is object else np.nan
        columns[name] = np.array(said.get(name, [left_out] * rows), dtype)
    return columns


def _datatype(field: Field) -> str:
    return {"number": "FP64", "integer": "INT64", "string": "BYTES"}[field.kind]
