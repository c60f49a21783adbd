"""Tokens of the `kubernetes` package, what is refused, and the fields that force a replacement."""

from dataclasses import dataclass

from .problems import ProblemError
from .wire import Value

__all__ = ["Kind", "force_new", "kind_of"]

SELECTOR = ("spec.selector",)
VOLUME_SOURCES = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
]
POD_FIELDS = [
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes",
]

# (group, kind) -> paths. What the official plugin lists, plus what the API server never lets change.
FORCE_NEW: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): SELECTOR,
    ("apps", "Deployment"): SELECTOR,
    ("apps", "ReplicaSet"): SELECTOR,
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): (
        "spec.completionMode",
        "spec.completions",
        "spec.parallelism",
        "spec.selector",
        "spec.template",
    ),
    ("", "PersistentVolume"): tuple(f"spec.{source}" for source in VOLUME_SOURCES),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeMode",
        "spec.volumeName",
    ),
    ("", "Pod"): tuple(f"spec.{field}" for field in POD_FIELDS),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec.group", "spec.names.plural", "spec.scope"),
    ("networking.k8s.io", "IngressClass"): ("spec.controller",),
    ("node.k8s.io", "RuntimeClass"): ("handler",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("preemptionPolicy", "value"),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"),
}

NOT_SERVED = {
    "helm.sh": "Helm releases and charts",
    "yaml": "YAML groups and files",
    "kustomize": "Kustomize directories",
}


@dataclass(frozen=True)
class Kind:
    api_version: str
    name: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


def kind_of(token: str, inputs: dict[str, Value]) -> Kind:
    """The kind that a token `kubernetes:<group>/<version>:<Kind>` and its inputs ask for.

    Raises ProblemError for what this plugin does not serve: lists, patches, Helm, YAML, Kustomize.
    """
    package, _, rest = token.partition(":")
    api_version, _, name = rest.rpartition(":")
    if package != "kubernetes" or not api_version or not name:
        raise ProblemError(
            f"{token!r} is not a resource of the kubernetes package: kubernetes:<group>/<version>:<Kind>"
        )
    family = api_version.split("/")[0]
    if family in NOT_SERVED:
        raise ProblemError(
            f"{token}: {NOT_SERVED[family]} are not served by the bundled kubernetes plugin yet. "
            f"Use plain resources, or the official plugin (SURGE_ENGINE=official)"
        )
    given = inputs.get("kind")
    built_in = "." not in family or family.endswith(".k8s.io")
    if name.endswith("List") and built_in:
        raise ProblemError(f"{token}: a list is not an object of the cluster. Declare its items one by one")
    if name.endswith("Patch") and (given == name.removesuffix("Patch") or built_in):
        raise ProblemError(
            f"{token}: patch resources are not served by the bundled kubernetes plugin. "
            f"Declare the whole object, or import it"
        )
    if isinstance(inputs.get("apiVersion"), str):
        api_version = inputs["apiVersion"]
    return Kind(api_version.removeprefix("core/"), given if isinstance(given, str) else name)


def force_new(
    kind: Kind, inputs: dict[str, Value], live: dict[str, Value], *, mutable: frozenset[str]
) -> tuple[str, ...]:
    """Dotted paths whose change replaces the object.

    mutable: kinds (ConfigMap, Secret) whose data may change in place, unless inputs or the live object
    are `immutable: true`.
    """
    paths = ("kind", "metadata.name", "metadata.namespace", *FORCE_NEW.get((kind.group, kind.name), ()))
    if kind.group == "" and kind.name in {"ConfigMap", "Secret"}:
        frozen = True in (inputs.get("immutable"), live.get("immutable")) or kind.name not in mutable
        data = ("binaryData", "data") if kind.name == "ConfigMap" else ("data", "stringData")
        paths += data if frozen else ()
    return paths
