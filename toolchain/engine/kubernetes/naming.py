"""Names and annotations of an object."""

import hashlib
import secrets

from .problems import ProblemError
from .wire import UNKNOWN, Value

__all__ = [
    "AUTONAMED",
    "PATCH_FORCE",
    "PATCH_MANAGER",
    "PROPAGATION",
    "SKIP_AWAIT",
    "TIMEOUT",
    "WAIT_FOR",
    "annotation",
    "field_manager",
    "identifier",
    "is_autonamed",
    "name_of",
    "namespace_of",
    "split_identifier",
    "with_name",
]

AUTONAMED = "pulumi.com/autonamed"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_MANAGER = "pulumi.com/patchFieldManager"
PROPAGATION = "pulumi.com/deletionPropagationPolicy"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"


def name_of(obj: dict[str, Value]) -> Value:
    """metadata.name: a text, UNKNOWN, or "" when it is absent."""
    return _metadata(obj).get("name") or ""


def namespace_of(obj: dict[str, Value]) -> Value:
    return _metadata(obj).get("namespace") or ""


def annotation(obj: dict[str, Value], key: str) -> str:
    """The annotation's text, "" when it is absent or unknown."""
    annotations = _metadata(obj).get("annotations")
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def is_autonamed(obj: dict[str, Value]) -> bool:
    return annotation(obj, AUTONAMED) == "true"


def identifier(obj: dict[str, Value]) -> str:
    """`namespace/name`, or `name` for an object without a namespace."""
    namespace, name = namespace_of(obj), name_of(obj)
    return f"{namespace}/{name}" if namespace else name


def split_identifier(text: str) -> tuple[str, str]:
    """(namespace, name); the namespace is "" when there is none."""
    namespace, _, name = text.rpartition("/")
    return namespace, name


def with_name(
    inputs: dict[str, Value], old: dict[str, Value], resource: str, seed: bytes, proposed: str | None = None
) -> dict[str, Value]:
    """inputs with a name: the program's, else the one it got before, else `resource-<8 hex digits>`.

    seed: the engine's, so that preview and update agree. proposed: the engine's own wish, if any.
    """
    metadata = inputs.get("metadata")
    if metadata is UNKNOWN or name_of(inputs):
        return inputs
    if _metadata(inputs).get("generateName"):
        raise ProblemError(
            "metadata.generateName cannot be used with server-side apply: leave the name out, "
            "and one is generated"
        )
    if is_autonamed(old) and name_of(old):
        name = name_of(old)
    else:
        digits = hashlib.sha256(seed).hexdigest()[:8] if seed else secrets.token_hex(4)
        name = proposed or f"{resource}-{digits}"
    annotations = _metadata(inputs).get("annotations") or {}
    if isinstance(annotations, dict):
        annotations = {**annotations, AUTONAMED: "true"}
    return {**inputs, "metadata": {**_metadata(inputs), "name": name, "annotations": annotations}}


def field_manager(inputs: dict[str, Value], state: dict[str, Value]) -> str:
    """The annotation's, else the one in the state, else a new one: one manager per resource, for life."""
    kept = state.get("__fieldManager")
    return (
        annotation(inputs, PATCH_MANAGER)
        or (kept if isinstance(kept, str) else "")
        or f"pulumi-kubernetes-{secrets.token_hex(4)}"
    )


def _metadata(obj: dict[str, Value]) -> dict[str, Value]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
