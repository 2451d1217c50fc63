"""KServe's two protocols: parse requests into columns, and render answers.

V1 is a list of instances and a list of predictions. V2, the Open Inference Protocol, is one tensor
per field, whose first dimension is the batch:

=======================  =====================================  ==================
field                    shape                                  datatype
=======================  =====================================  ==================
number, integer          ``[N]`` or ``[N, 1]``                  FP*, INT*, UINT*
boolean                  ``[N]`` or ``[N, 1]``                  BOOL
string                   ``[N]`` or ``[N, 1]``                  BYTES
list                     ``[N, L]``                             that of an element
image, as a file         ``[N]`` or ``[N, 1]``                  BYTES
image, as pixels         ``[N, H, W]`` or ``[N, H, W, C]``      UINT8
=======================  =====================================  ==================

A file is a base64 string in JSON, and the file itself in binary tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from roadworthy.bundles.scoring import Columns
from roadworthy.models import tensors
from roadworthy.models.tensors import FieldType
from roadworthy.serving.models.model_store import LoadedVersion, ModelVersions
from roadworthy.serving.models.rejection import Rejection

_SIZES = {"FP": ("f", (64, 32)), "INT": ("i", (64, 32, 16, 8)), "UINT": ("u", (64, 32, 16, 8))}
_NUMBERS = {
    f"{kind}{bits}": np.dtype(f"<{code}{bits // 8}")
    for kind, (code, sizes) in _SIZES.items()
    for bits in sizes
}
_PACKED = _NUMBERS | {"BOOL": np.dtype(np.bool_)}
_TENSOR_KEYS = {"name", "shape", "datatype", "data", "parameters"}
_REQUEST_KEYS = {"id", "inputs", "outputs", "parameters", "model_name", "model_version"}
_NESTED = ("depth limit exceeded", "recursion limit reached", "failed to allocate memory")
"""The messages of the parser's versions about nested objects."""
JSON_LENGTH = b"inference-header-content-length"
"""The header with the length of the JSON that binary tensors follow."""
_WHAT_V1 = 'send {"instances": [{...}, ...]}'
_WHAT_V2 = 'send {"inputs": [{"name": ..., "shape": [N], "datatype": ..., "data": [...]}, ...]}'


class Instances(NamedTuple):
    """The columns of a V1 request."""

    columns: Columns


@dataclass(frozen=True)
class Inference:
    """The columns of a V2 request, its id, and the outputs that it requests.

    ``outputs`` is whether each output is sent in binary, by name.
    """

    columns: Columns
    identity: str | None
    outputs: Mapping[str, bool]


class Output(NamedTuple):
    """An output tensor. ``values`` are flat."""

    name: str
    datatype: str
    shape: list[int]
    values: npt.NDArray[Any]

    @property
    def packed(self) -> bytes:
        """The values as a binary tensor: little-endian, strings after their length."""
        if self.datatype != "BYTES":
            return self.values.astype(_PACKED[self.datatype]).tobytes()
        strings = [str(value).encode() for value in self.values]
        return b"".join(len(one).to_bytes(4, "little") + one for one in strings)


class Body(NamedTuple):
    """The body of a response, and the length of its JSON where binary tensors follow it."""

    content: bytes
    json_length: int | None = None


def read_v1(body: bytes, loaded: LoadedVersion, max_rows: int) -> Instances:
    """Parse a V1 request.

    Raises
    ------
    Rejection
        400 for a body that is not a list of instances in JSON, 413 for too many, 422 for a field.
    """
    document = _document(body, _WHAT_V1)
    instances = document.get("instances")
    if type(instances) is not list or len(document) != 1:
        raise Rejection(400, f"The body is not a list of instances: {_WHAT_V1}.")
    _check_count(len(instances), max_rows)
    rows = loaded.schema.rows(instances)
    _check_keys(body, 1 + sum(map(len, rows)))
    return Instances(loaded.schema.columns(rows))


def read_form(form: Sequence[tuple[str, str | bytes]], loaded: LoadedVersion) -> Instances:
    """Parse a form, which is one row of text fields and files.

    Parameters
    ----------
    form
        The name of each part with its text, or with the content of its file. The text of a number,
        a boolean or a list is JSON, where a list may lack its brackets; an empty text is a field
        that is left out. A list may also be sent as several parts with one name.
    loaded
        The version that answers.

    Raises
    ------
    Rejection
        400 for a field that is sent twice, 422 for a field.
    """
    parts: dict[str, list[str | bytes]] = {}
    for name, value in form:
        if value:
            parts.setdefault(name, []).append(value)
    fields = loaded.schema.fields
    row = {name: _typed(name, fields.get(name), values) for name, values in parts.items()}
    files = {
        name: value
        for name, value in row.items()
        if isinstance(value, bytes) and name in fields and fields[name].image is not None
    }
    # the rest of a row is validated as JSON, in which a file is a string
    (checked,) = loaded.schema.rows([row | dict.fromkeys(files, "")])
    return Instances(loaded.schema.columns([checked | files]))


def _typed(name: str, field: FieldType | None, values: Sequence[str | bytes]) -> Any:
    """Return a form field's value as in JSON, or a value that validation refuses."""
    first, *others = values
    if field is not None and field.item is not None:
        if others or field.item.kind == "string":
            return [_typed(name, field.item, [value]) for value in values]
        return _loaded(first if first[:1] in ("[", b"[") else f"[{first!s}]", first)
    if others:
        raise Rejection(400, f"The field {name[:100]} is sent twice: send it once.")
    if field is None or field.kind in ("string", "image"):
        return first
    return _loaded(first, first)


def _loaded(text: str | bytes, otherwise: Any) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return otherwise


def answer_v1(answers: Columns) -> Body:
    """Return a V1 response: one object per row.

    If all answers are numbers, they are formatted at once and inserted into a template. For many
    rows this takes half as long as to make and format an object for each.
    """
    if any(column.ndim != 1 or column.dtype.kind not in "fiu" for column in answers.values()):
        return Body(orjson.dumps({"predictions": tensors.records(answers)}))
    rows = zip(*(column.tolist() for column in answers.values()), strict=True)
    numbers = orjson.dumps(list(chain.from_iterable(rows)))[1:-1].split(b",")
    row = _row(tuple(answers))
    template = b",".join([row] * (len(numbers) // len(answers)))
    return Body(b'{"predictions":[%b]}' % (template % tuple(numbers)))


@lru_cache
def _row(names: tuple[str, ...]) -> bytes:
    """Return the template of an object with a number for each name."""
    keys = (orjson.dumps(name).replace(b"%", b"%%") for name in names)
    return b"{%b}" % b",".join(key + b":%b" for key in keys)


def read_v2(
    body: bytes, json_length: bytes | None, loaded: LoadedVersion, max_rows: int
) -> Inference:
    """Parse a V2 request.

    Parameters
    ----------
    body
        The body: JSON, and after it the binary tensors.
    json_length
        The header ``inference-header-content-length`` with the length of the JSON, or None if all
        of the body is JSON.
    loaded
        The version that answers.
    max_rows
        The most rows.

    Raises
    ------
    Rejection
        400 for a body that is not a list of tensors in JSON, 413 for too many rows, 422 for a
        field.
    """
    text, tail = _parts(body, json_length)
    document = _document(text, _WHAT_V2)
    inference = infer(document, tail, loaded, max_rows)
    _check_keys(text, _keys(document))
    return inference


def infer(
    document: Mapping[str, Any], tail: bytes, loaded: LoadedVersion, max_rows: int
) -> Inference:
    """Parse the JSON and the binary tensors of a V2 request; see :func:`read_v2`."""
    inputs = document.get("inputs")
    if type(inputs) is not list or not inputs or not _REQUEST_KEYS.issuperset(document):
        raise Rejection(400, f"The body is not a list of inputs: {_WHAT_V2}.")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise Rejection(400, "The id of a request is not a string: send it in quotes, or none.")
    outputs = _wanted(document, loaded)
    sent: dict[str, npt.NDArray[Any]] = {}
    rows: int | None = None
    for tensor in inputs:
        name, column, tail = _tensor(tensor, tail, loaded, rows, max_rows)
        if name in sent:
            raise Rejection(400, f"The input {name} is sent twice: send one tensor per field.")
        rows = len(column)
        sent[name] = column
    if tail:
        raise Rejection(400, f"{len(tail)} bytes follow the last tensor: leave them out.")
    loaded.schema.missing([name for name in loaded.schema.fields if name not in sent])
    for name, field in loaded.schema.fields.items():
        if name not in sent:
            sent[name] = tensors.column(field, [None] * (rows or 0))
    return Inference(sent, identity, outputs)


def answer_v2(inference: Inference, answers: Columns, loaded: LoadedVersion) -> Body:
    """Return a V2 response: one tensor per field, in JSON or in binary as the request has it."""
    document: dict[str, Any] = {
        "model_name": loaded.manifest.model,
        "model_version": str(loaded.version),
    }
    if inference.identity is not None:
        document["id"] = inference.identity
    tail = b""
    document["outputs"] = []
    for output in outputs(inference, answers, loaded):
        name, datatype, shape, values = output
        one: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if inference.outputs[name]:
            packed = output.packed
            one["parameters"] = {"binary_data_size": len(packed)}
            tail += packed
        else:
            one["data"] = values.tolist()
        document["outputs"].append(one)
    text = orjson.dumps(document)
    return Body(text + tail, len(text) if any(inference.outputs.values()) else None)


def outputs(inference: Inference, answers: Columns, loaded: LoadedVersion) -> list[Output]:
    """Return the requested tensors of an answer.

    Raises
    ------
    Rejection
        422 for lists of unequal length, which do not fit in a tensor.
    """
    return [_output(name, answers[name], loaded) for name in inference.outputs]


def metadata(model: ModelVersions, loaded: LoadedVersion | None) -> dict[str, Any]:
    """Return the V2 metadata of a model: its versions and tensors, with -1 for a free dimension."""
    return {
        "name": model.name,
        "versions": sorted(model.versions, key=int),
        "platform": "onnx_onnxv1",
        "inputs": input_types(loaded),
        "outputs": output_types(loaded),
    }


def input_types(loaded: LoadedVersion | None) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each input of a version. Images are files."""
    fields = loaded.schema.fields.values() if loaded else ()
    return [_tensor_type(field.name, field) for field in fields]


def output_types(loaded: LoadedVersion | None) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each output of a version."""
    if loaded is None:
        return []
    return [_tensor_type(name, loaded.answer.get(name)) for name in loaded.scorer.outputs]


def card(model: ModelVersions, loaded: LoadedVersion) -> bytes:
    """Return the content of a version's page."""
    manifest = loaded.manifest
    challenger = model.challenger
    return orjson.dumps(
        {
            "model": model.name,
            "title": manifest.title or model.name,
            "task": manifest.task,
            "version": loaded.version,
            "since": loaded.release.since,
            "digest": loaded.release.digest,
            "commit": manifest.commit,
            "candidate": manifest.candidate,
            "metrics": dict(manifest.metrics),
            "request": dict(manifest.request),
            "answer": dict(manifest.answer),
            "page": dict(loaded.page),
            "points": dict(loaded.points),
            "challenger": None if challenger is None else challenger.version,
            "state": model.state,
            "split": [part.to_dict() for part in model.split],
        }
    )


def datatypes(field: FieldType) -> Sequence[str]:
    """Return the datatypes that a field may have."""
    if field.image is not None:
        return ("BYTES", "UINT8")
    kind = field.kind if field.item is None else field.item.kind
    return {"string": ("BYTES",), "boolean": ("BOOL",)}.get(kind, tuple(_NUMBERS))


def shapes(field: FieldType, datatype: str) -> list[list[Any]]:
    """Return the shapes that a field may have. ``"N"`` and ``"L"`` are free sizes."""
    if field.image is not None and datatype == "UINT8":
        size = ["N", field.image.height, field.image.width]
        return [size, [*size, 1]] if field.image.channels == 1 else [[*size, 3]]
    if field.kind == "list":
        return [["N", *("L" if length is None else length for length in field.shape)]]
    return [["N"], ["N", 1]]


def _tensor_type(name: str, field: FieldType | None) -> dict[str, Any]:
    free = [-1 if length is None else length for length in _width(field)]
    return {"name": name, "datatype": _datatype(field), "shape": [-1, *free]}


def _width(field: FieldType | None) -> Sequence[int | None]:
    return field.shape if field is not None and field.image is None else ()


def _datatype(field: FieldType | None) -> str:
    if field is None:
        return "FP64"
    kind = field.kind if field.item is None else field.item.kind
    return {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}.get(kind, "BYTES")


def _output(name: str, column: npt.NDArray[Any], loaded: LoadedVersion) -> Output:
    field = loaded.answer.get(name)
    if column.dtype == object and field is not None and field.item is not None and column.ndim == 1:
        raise Rejection(
            422,
            f"The lists of {name} have different lengths, which no tensor has: "
            f"send one row at a time, or use the V1 protocol.",
        )
    datatype = _datatype(field)
    flat = column.reshape(-1)
    if datatype == "INT64":  # a graph may compute it as a float
        flat = flat.astype(np.int64)
    return Output(name, datatype, list(column.shape), flat)


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
        raise Rejection(400, "The request has no rows: send at least one.")
    if rows > max_rows:
        raise Rejection(413, f"{rows} rows are too many: send at most {max_rows} at a time.")


def _check_keys(text: bytes, keys: int) -> None:
    """Refuse JSON with a duplicate key, of which the parser keeps the last.

    A colon follows every key. If a text has as many colons as the document has keys, no key is
    duplicate. Only a text with more colons is parsed again, by a slower parser.
    """
    if text.count(b":") != keys:
        try:
            # numbers are valid already, and Python converts long ones slowly
            json.loads(text, object_pairs_hook=_unique, parse_int=len, parse_float=len)
        except RecursionError:
            raise Rejection(400, "The body is nested too deeply: send flat objects.") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise Rejection(400, f"The key {json.dumps(name[:100])} is duplicate: send it once.")
        unique[name] = value
    return unique


def _keys(document: Mapping[str, Any]) -> int:
    """Return the number of keys in the known parts of a request."""
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


def _wanted(document: Mapping[str, Any], loaded: LoadedVersion) -> dict[str, bool]:
    """Return whether each requested output is sent in binary, by name."""
    known = loaded.scorer.outputs
    binary = _parameter(document, "binary_data_output") is True
    wanted = document.get("outputs")
    if wanted is None or wanted == []:
        return dict.fromkeys(known, binary)
    found: dict[str, bool] = {}
    for part in _list(wanted):
        name = part.get("name") if type(part) is dict else None
        if type(name) is not str or name not in known:
            remedy = f"request some of {', '.join(known)}, or leave outputs out"
            raise Rejection(400, f"The request has an unknown output: {remedy}.")
        own = _parameter(part, "binary_data")
        found[name] = binary if own is None else own is True
    return found


def _parameter(part: Mapping[str, Any], name: str) -> Any:
    parameters = part.get("parameters")
    return parameters.get(name) if type(parameters) is dict else None


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise Rejection(400, 'The outputs are not a list: send [{"name": ...}], or none.')
    return value


def _tensor(
    tensor: Any, tail: bytes, loaded: LoadedVersion, rows: int | None, max_rows: int
) -> tuple[str, npt.NDArray[Any], bytes]:
    """Return name and column of a tensor, and the bytes of the tensors after it."""
    if type(tensor) is not dict or not _TENSOR_KEYS.issuperset(tensor):
        raise Rejection(400, f"An input is not a tensor: {_WHAT_V2}.")
    name = tensor.get("name")
    if type(name) is not str:
        raise Rejection(400, f"An input has no name: {_WHAT_V2}.")
    if name not in loaded.schema.fields:
        raise loaded.schema.unknown(name)
    field = loaded.schema.fields[name]
    datatype = _checked_datatype(field, tensor.get("datatype"), loaded)
    shape = _checked_shape(field, datatype, tensor.get("shape"))
    _check_count(shape[0], max_rows)
    if rows is not None and shape[0] != rows:
        raise Rejection(
            400, f"The input {name} has {shape[0]} rows, the one before it {rows}: send as many."
        )
    values, tail = _values(field, tensor, datatype, shape, tail)
    if field.image is not None and datatype == "UINT8":
        return name, _pixels(field, values, loaded), tail
    column = loaded.schema.column(name, _rows(field, values, shape))
    if "INT" in datatype:
        _check_whole(name, column, loaded)
    return name, column, tail


def _checked_datatype(field: FieldType, datatype: Any, loaded: LoadedVersion) -> str:
    allowed = datatypes(field)
    if type(datatype) is not str or datatype not in allowed:
        problem = f"is of a datatype that is none of {', '.join(allowed)}"
        raise loaded.schema.refusal(None, field.name, problem, datatype)
    return datatype


def _checked_shape(field: FieldType, datatype: str, shape: Any) -> list[int]:
    allowed = shapes(field, datatype)
    sizes = shape if type(shape) is list and all(type(n) is int and n >= 0 for n in shape) else []
    for one in allowed:
        if len(one) == len(sizes) and all(
            wanted in ("N", "L", size) for wanted, size in zip(one, sizes, strict=True)
        ):
            return sizes
    shapes_text = " or ".join(f"[{', '.join(map(str, one))}]" for one in allowed)
    raise Rejection(400, f"The shape of {field.name} is not that of its field: send {shapes_text}.")


def _values(
    field: FieldType, tensor: Mapping[str, Any], datatype: str, shape: Sequence[int], tail: bytes
) -> tuple[Any, bytes]:
    """Return the flat values of a tensor, and the bytes of the tensors after it."""
    name = field.name
    size = _parameter(tensor, "binary_data_size")
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(tail) or tensor.get("data") is not None:
            raise Rejection(400, f"The bytes of {name} are not there: send binary_data_size bytes.")
        return _unpacked(field, tail[:size], datatype, math.prod(shape)), tail[size:]
    return _flat(name, tensor.get("data"), shape), tail


def _flat(name: str, data: Any, shape: Sequence[int]) -> list[Any]:
    """Return the flat data of a tensor, which may be flat or nested."""
    if type(data) is not list:
        raise Rejection(400, f"The data of {name} is not a list: send a list of {shape[0]}.")
    for length in shape[1:]:
        if not data or type(data[0]) is not list:
            break
        if any(type(one) is not list or len(one) != length for one in data):
            raise Rejection(
                400, f"The data of {name} is not nested like its shape: send lists of {length}."
            )
        data = list(chain.from_iterable(data))
    values: list[Any] = data
    if len(values) != math.prod(shape):
        count = math.prod(shape)
        raise Rejection(
            400, f"The data of {name} has {len(values)} values, its shape {count}: send as many."
        )
    return values


def _unpacked(field: FieldType, packed: bytes, datatype: str, count: int) -> Any:
    """Return the values of a binary tensor: little-endian, strings after their length."""
    name = field.name
    if datatype == "BYTES":
        values = _strings(name, packed, decode=field.image is None)
        if len(values) != count:
            raise Rejection(
                400,
                f"The tensor {name} has {len(values)} values, its shape {count}: send as many.",
            )
        return values
    width = _PACKED[datatype].itemsize
    if len(packed) != width * count:
        raise Rejection(
            400, f"The tensor {name} has {len(packed)} bytes: send {width} for each value."
        )
    found = np.frombuffer(packed, _PACKED[datatype])
    return found if field.image is not None else found.tolist()


def _strings(name: str, packed: bytes, *, decode: bool) -> list[Any]:
    found: list[Any] = []
    start = 0
    while start < len(packed):
        end = start + 4 + int.from_bytes(packed[start : start + 4], "little")
        if len(packed) < end:
            raise Rejection(
                400, f"The tensor {name} ends in the middle of a string: send it whole."
            )
        value = packed[start + 4 : end]
        try:
            found.append(value.decode() if decode else value)
        except UnicodeDecodeError:
            raise Rejection(
                400, f"The tensor {name} is not UTF-8: encode its strings so."
            ) from None
        start = end
    return found


def _rows(field: FieldType, values: list[Any], shape: Sequence[int]) -> list[Any]:
    """Return one value for each row: a list where the field is one, None where it is missing."""
    if field.kind == "list":
        rows, length = shape
        return [values[row * length : (row + 1) * length] for row in range(rows)]
    if field.required:
        return values
    # the only ways to encode a missing value in a tensor
    if field.kind == "string":
        return [None if value == "" else value for value in values]
    return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN


def _pixels(field: FieldType, values: Any, loaded: LoadedVersion) -> npt.NDArray[np.uint8]:
    found = np.asarray(values)
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
        problem = "has pixels that are not whole numbers from 0 to 255"
        raise loaded.schema.refusal(None, field.name, problem, values)
    return found.astype(np.uint8).reshape(-1, *loaded.schema.fields[field.name].shape)


def _check_whole(name: str, column: npt.NDArray[Any], loaded: LoadedVersion) -> None:
    for row, values in enumerate(column.reshape(len(column), -1).tolist()):
        for value in values:
            if value % 1 and value == value:  # noqa: PLR0124 - NaN is a missing value
                raise loaded.schema.refusal(row, name, "is not a whole number", value)
