"""The configuration of one `kubernetes` provider."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .problems import ProblemError
from .wire import UNKNOWN, Value, has_unknown, reveal

__all__ = ["ProviderSettings", "replaced_by"]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Property of the provider -> environment variable that stands in for it.
FLAGS = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}


@dataclass(frozen=True)
class ProviderSettings:
    """kubeconfig: content (YAML or JSON) or path; "" means KUBECONFIG, else ~/.kube/config.

    known: False when a value will only be known after the update; such a provider is never contacted.
    mutable: kinds whose data may change in place.
    delete_unreachable, keep_unreachable: what to do with the state of an object whose cluster does not
    answer, instead of failing: drop it; leave it as it is when it is only read.
    """

    kubeconfig: str = field(default="", repr=False)
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    delete_unreachable: bool = False
    keep_unreachable: bool = False
    patch_force: bool = False
    upsert: bool = False
    mutable: frozenset[str] = frozenset()
    known: bool = True

    @classmethod
    def parse(cls, args: dict[str, Value], environment: Mapping[str, str] = os.environ) -> "ProviderSettings":
        """Raises ProblemError for a mode that this plugin does not serve."""
        plain = reveal(args)
        if has_unknown({key: plain.get(key) for key in ("kubeconfig", "context", "cluster", "namespace")}):
            return cls(known=False)
        ssa = plain.get("enableServerSideApply", environment.get("PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY"))
        if ssa is not None and not _true(ssa):
            raise ProblemError(
                "enableServerSideApply=false: the bundled kubernetes plugin always applies on the server. "
                "Drop the setting, or use the official plugin (SURGE_ENGINE=official)"
            )
        if plain.get("renderYamlToDirectory"):
            raise ProblemError(
                "renderYamlToDirectory is not served by the bundled kubernetes plugin: it always talks to a "
                "cluster. Use the official plugin (SURGE_ENGINE=official)"
            )
        flags = {name: _true(plain.get(name, environment.get(stand_in))) for name, stand_in in FLAGS.items()}
        kinds = {"ConfigMap": flags["enableConfigMapMutable"], "Secret": flags["enableSecretMutable"]}
        return cls(
            kubeconfig=_text(plain.get("kubeconfig")),
            context=_text(plain.get("context")),
            cluster=_text(plain.get("cluster")),
            namespace=_text(plain.get("namespace")),
            delete_unreachable=flags["deleteUnreachable"],
            keep_unreachable=flags["skipUpdateUnreachable"],
            patch_force=flags["enablePatchForce"],
            upsert=flags["upsertExistingObjects"],
            mutable=frozenset(kind for kind, free in kinds.items() if free),
        )

    def kubeconfig_document(self) -> dict[str, Value]:
        """The kubeconfig as one document, with `context` and `cluster` applied.

        Raises ProblemError when it cannot be read, or names a context that is not in it.
        """
        document = _read(self.kubeconfig)
        context = self.context or document.get("current-context") or ""
        contexts = {item["name"]: dict(item.get("context") or {}) for item in document.get("contexts") or []}
        if context not in contexts:
            known = ", ".join(sorted(contexts)) or "none"
            raise ProblemError(
                f"kubeconfig has no context {context!r}; it has: {known}. Set the provider's context"
            )
        if self.cluster:
            contexts[context]["cluster"] = self.cluster
        listed = [{"name": name, "context": details} for name, details in contexts.items()]
        return {**document, "contexts": listed, "current-context": context}

    def default_namespace(self) -> str:
        """The provider's namespace, else the context's, else "default"."""
        if self.namespace or not self.known:
            return self.namespace
        document = self.kubeconfig_document()
        current = document["current-context"]
        chosen = next(item["context"] for item in document["contexts"] if item["name"] == current)
        return chosen.get("namespace") or "default"


def replaced_by(old: dict[str, Value], new: dict[str, Value]) -> list[str]:
    """Properties whose change means another cluster, so that everything on it is replaced.

    With a clusterIdentifier only its change counts; without one, a change of the active cluster does.
    """
    old, new = reveal(old), reveal(new)
    before, after = old.get("clusterIdentifier"), new.get("clusterIdentifier")
    if before and after:
        return ["clusterIdentifier"] if before != after else []
    keys = ("kubeconfig", "context", "cluster")
    unknown = [key for key in keys if new.get(key) is UNKNOWN]
    if unknown:
        return unknown
    clusters = [_active_cluster(args) for args in (old, new)]
    if None in clusters or clusters[0] == clusters[1]:
        return []
    return [key for key in keys if old.get(key) != new.get(key)]


def _active_cluster(args: dict[str, Value]) -> Value:
    try:
        document = ProviderSettings.parse(args, {}).kubeconfig_document()
    except ProblemError:
        return None
    by_name = {item["name"]: item for item in document["contexts"]}
    cluster = by_name[document["current-context"]]["context"].get("cluster")
    return next((item for item in document.get("clusters") or [] if item["name"] == cluster), None)


def _read(kubeconfig: str) -> dict[str, Value]:
    text, origin = kubeconfig, "the provider's kubeconfig"
    if "\n" not in text and not text.lstrip().startswith("{"):
        path = Path(text or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
        origin = f"kubeconfig {path}"
        try:
            text = path.read_text()
        except OSError as error:
            raise ProblemError(
                f"{origin} cannot be read: {error.strerror}. Give the provider a kubeconfig "
                f"(content or path), or set KUBECONFIG"
            ) from error
    try:
        document = yaml.load(text, Loader=LOADER)  # noqa: S506 (both loaders are safe ones)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ProblemError(f"{origin} is not YAML{where}: see `kubectl config view`") from None
    if not isinstance(document, dict) or not document.get("clusters"):
        raise ProblemError(f"{origin} has no clusters: see `kubectl config view`")
    return document


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else ""


def _true(value: Value) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in {"1", "true", "yes"})
