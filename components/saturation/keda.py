"""How KEDA proves itself to the saturation server, and the server to KEDA."""

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components.platform.keda import NAMESPACE

__all__ = ["AUTHENTICATION", "trigger_authentication"]

AUTHENTICATION = "saturation"
SECRET = "saturation-token"  # noqa: S105 -- the name of a Secret, not a secret


def trigger_authentication(
    name: str, parameters: Mapping[str, pulumi.Input[str]], *, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """A ClusterTriggerAuthentication and its Secret, which KEDA reads in its own namespace.

    parameters: of the metrics-api scaler. `token` is for mode bearer. `ca`, which the server's certificate
    is held against, counts in mode tls alone, and KEDA 2.21 wants `cert` and `key` of a client with it;
    without, the authority must be in the operator's --ca-dir.
    """
    secret = k8s.core.v1.Secret(
        f"{name}-token",
        metadata={"name": SECRET, "namespace": NAMESPACE},
        string_data=dict(parameters),
        opts=opts,
    )
    authentication = k8s.apiextensions.CustomResource(
        f"{name}-authentication",
        api_version="keda.sh/v1alpha1",
        kind="ClusterTriggerAuthentication",
        metadata={"name": AUTHENTICATION},
        spec={"secretTargetRef": [{"parameter": key, "name": SECRET, "key": key} for key in parameters]},
        opts=opts,
    )
    return [secret, authentication]
