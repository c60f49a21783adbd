"""Kubernetes objects from YAML files that somebody else maintains."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

__all__ = ["apply", "read"]


class _Object(pulumi.CustomResource):
    """Any kind, by the token that the Kubernetes provider has for it."""

    def __init__(self, name: str, document: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        version = document["apiVersion"]
        group = version if "/" in version else f"core/{version}"
        super().__init__(f"kubernetes:{group}:{document['kind']}", name, dict(document), opts)


def read(folder: Path) -> list[Mapping[str, Any]]:
    """Every object of the YAML files in `folder`, sorted by file, without the schemas' prose.

    Prose is nine tenths of a CustomResourceDefinition, and all of it would be state.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: the tools are not built here; run `make tools`")
    return [
        _without_prose(document)
        for file in sorted(folder.glob("*.yaml"))
        if file.name != "kustomization.yaml"
        for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
        if document
    ]


def apply(
    prefix: str, documents: Iterable[Mapping[str, Any]], *, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """A resource per object, named after its kind and name."""
    return [
        _Object(f"{prefix}-{item['kind']}-{item['metadata']['name']}".lower(), item, opts)
        for item in documents
    ]


def _without_prose(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_prose(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_without_prose(value) for value in node]
    return node
