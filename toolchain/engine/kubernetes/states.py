"""What is kept of an object in Pulumi's state, in the layout of the official plugin.

The live object, beside it `__inputs` (what the program asked for), `__fieldManager` and
`__initialApiVersion`.
"""

from .wire import UNKNOWN, Secret, Value, mark_secrets, reveal

__all__ = [
    "from_program",
    "imported_inputs",
    "inputs_in",
    "live_in",
    "outputs",
    "preview_outputs",
    "to_program",
]

READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
KEPT = ("__inputs", "__fieldManager", "__initialApiVersion")
# Written by controllers into objects whose other fields are the user's.
FOREIGN_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def from_program(properties: dict[str, Value]) -> dict[str, Value]:
    """Inputs as the API server takes them: no nulls, no read-only metadata, `x-kubernetes-*` with dashes."""
    inputs = _renamed({k: v for k, v in properties.items() if k not in KEPT and k != "status"}, _dashes)
    metadata = inputs.get("metadata")
    if isinstance(metadata, dict):
        inputs["metadata"] = {key: value for key, value in metadata.items() if key not in READ_ONLY}
    return inputs


def to_program(obj: dict[str, Value]) -> dict[str, Value]:
    """An object as the SDK's types take it: `x_kubernetes_*` with underscores."""
    return _renamed(obj, _underscores)


def outputs(live: dict[str, Value], inputs: dict[str, Value], manager: str, initial: str) -> dict[str, Value]:
    """The state of an object. inputs carry the secrets' marks; live has none yet."""
    kept = without_managed_fields(live)
    shown = mark_secrets(to_program(kept), to_program(inputs))
    return {
        **shown,
        "__inputs": mark_secrets(to_program(reveal(inputs)), to_program(inputs)),
        "__initialApiVersion": initial,
        "__fieldManager": manager,
    }


def preview_outputs(live: dict[str, Value], inputs: dict[str, Value], *, created: bool) -> dict[str, Value]:
    """The outputs after a dry run: what only the real run will know is unknown, and status is left out."""
    shown = {key: value for key, value in without_managed_fields(live).items() if key != "status"}
    metadata = {**shown.get("metadata", {}), "resourceVersion": UNKNOWN}
    if created:
        metadata |= {"uid": UNKNOWN, "creationTimestamp": UNKNOWN}
        if shown.get("kind") == "Service":
            given = reveal(inputs).get("spec") or {}
            assigned = {"clusterIP", "clusterIPs"} & shown.get("spec", {}).keys() - set(given)
            shown["spec"] = shown.get("spec", {}) | dict.fromkeys(assigned, UNKNOWN)
    shown["metadata"] = metadata
    return mark_secrets(to_program(shown), to_program(inputs))


def inputs_in(state: dict[str, Value]) -> dict[str, Value]:
    """The inputs kept in a state, without secrets' marks; {} when there are none."""
    kept = reveal(state.get("__inputs"))
    return from_program(kept) if isinstance(kept, dict) else {}


def live_in(state: dict[str, Value]) -> dict[str, Value]:
    plain = reveal({key: value for key, value in state.items() if key not in KEPT})
    return _renamed(plain, _dashes)


def imported_inputs(live: dict[str, Value]) -> dict[str, Value]:
    """The inputs of an object that no program described yet: all but status and what controllers wrote."""
    inputs = from_program(live)
    metadata = inputs.get("metadata", {})
    annotations = {
        key: value for key, value in metadata.get("annotations", {}).items() if key not in FOREIGN_ANNOTATIONS
    }
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return inputs


def without_managed_fields(live: dict[str, Value]) -> dict[str, Value]:
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key != "managedFields"}
    return {**live, "metadata": metadata}


def _dashes(key: str) -> str:
    return key.replace("_", "-") if key.startswith("x_kubernetes_") else key


def _underscores(key: str) -> str:
    return key.replace("-", "_") if key.startswith("x-kubernetes-") else key


def _renamed(value: Value, rename) -> Value:
    match value:
        case dict():
            return {rename(key): _renamed(item, rename) for key, item in value.items() if item is not None}
        case list():
            return [_renamed(item, rename) for item in value]
        case Secret():
            return Secret(_renamed(value.value, rename))
    return value
