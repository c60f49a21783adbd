"""Property values on Pulumi's wire as plain Python values, and back.

A value is None, bool, int, float, str, list or dict; an unknown is UNKNOWN, a secret is
Secret(value). Whole numbers become int: Kubernetes refuses `replicas: 3.0`.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

from .problems import ProblemError

__all__ = [
    "UNKNOWN",
    "Secret",
    "Value",
    "decode",
    "encode",
    "has_secret",
    "has_unknown",
    "mark_secrets",
    "reveal",
    "secret_texts",
]

Value = Any

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (the mark of a secret, not one)
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    value: Value

    def __repr__(self) -> str:
        return "Secret([secret])"


def decode(struct: struct_pb2.Struct) -> dict[str, Value]:
    """Raises ProblemError for assets and archives: no Kubernetes field takes them."""
    return {key: _decode(value) for key, value in struct.fields.items()}


def encode(properties: dict[str, Value]) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={key: _encode(value) for key, value in properties.items()})


def reveal(value: Value) -> Value:
    """The value without its Secret marks."""
    match value:
        case Secret():
            return reveal(value.value)
        case dict():
            return {key: reveal(item) for key, item in value.items()}
        case list():
            return [reveal(item) for item in value]
    return value


def has_unknown(value: Value) -> bool:
    return any(leaf is UNKNOWN for leaf in _leaves(value))


def has_secret(value: Value) -> bool:
    match value:
        case Secret():
            return True
        case dict():
            return any(has_secret(item) for item in value.values())
        case list():
            return any(has_secret(item) for item in value)
    return False


def secret_texts(value: Value, *, inside: bool = False) -> set[str]:
    """Every text within a secret, plain and in base64: what no message may contain."""
    match value:
        case Secret():
            return secret_texts(value.value, inside=True)
        case dict():
            return set().union(*(secret_texts(item, inside=inside) for item in value.values()))
        case list():
            return set().union(*(secret_texts(item, inside=inside) for item in value))
        case str() if inside:
            return {value, base64.b64encode(value.encode()).decode(), *_unbase64(value)}
    return set()


def mark_secrets(outputs: Value, inputs: Value) -> Value:
    """Return outputs with the secrets of inputs marked; the data of a kind Secret always is.

    In a list a value may have moved: one secret within makes all of the list secret.
    """
    if not isinstance(outputs, dict):
        return Secret(outputs) if has_secret(inputs) and not isinstance(outputs, Secret) else outputs
    marked = dict(outputs)
    if isinstance(inputs, Secret) and isinstance(inputs.value, dict):
        inputs = {key: Secret(item) for key, item in inputs.value.items()}
    if isinstance(inputs, dict):
        for key in marked.keys() & inputs.keys():
            marked[key] = mark_secrets(marked[key], inputs[key])
    if outputs.get("kind") == "Secret":
        _hide(marked)
    return marked


def _hide(secret: dict[str, Value]) -> None:
    for key in ("data", "stringData"):
        if key in secret and secret[key] is not UNKNOWN and not isinstance(secret[key], Secret):
            secret[key] = Secret(reveal(secret[key]))
    metadata = secret.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    # kubectl apply keeps a copy of the data in this annotation.
    if isinstance(annotations, dict) and isinstance(annotations.get(LAST_APPLIED), str):
        hidden = annotations | {LAST_APPLIED: Secret(annotations[LAST_APPLIED])}
        secret["metadata"] = {**secret["metadata"], "annotations": hidden}


def _unbase64(text: str) -> Iterator[str]:
    try:
        yield base64.b64decode(text, validate=True).decode()
    except ValueError:
        return


def _leaves(value: Value) -> Iterator[Value]:
    match value:
        case Secret():
            yield from _leaves(value.value)
        case dict():
            for item in value.values():
                yield from _leaves(item)
        case list():
            for item in value:
                yield from _leaves(item)
        case _:
            yield value


def _decode(value: struct_pb2.Value) -> Value:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Value:
    fields = struct.fields
    if SIGNATURE not in fields:
        return decode(struct)
    mark = fields[SIGNATURE].string_value
    if mark == SECRET:
        return Secret(_decode(fields["value"]))
    if mark == OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else UNKNOWN
        return Secret(inner) if "secret" in fields and fields["secret"].bool_value else inner
    if mark == RESOURCE:
        return _decode(fields["id"]) if "id" in fields else fields["urn"].string_value
    raise ProblemError(
        "an asset or archive was given where Kubernetes takes a plain value: pass its text instead"
    )


def _encode(value: Value) -> struct_pb2.Value:  # noqa: PLR0911 (one for each form of a value)
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case _Unknown():
            return struct_pb2.Value(string_value=UNKNOWN_TEXT)
        case list():
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in value]))
        case Secret():
            return struct_pb2.Value(struct_value=encode({SIGNATURE: SECRET, "value": value.value}))
    return struct_pb2.Value(struct_value=encode(value))
