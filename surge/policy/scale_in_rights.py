"""What the process that marks workers may do: list, and change one annotation of the filters' pods.

RBAC knows no smaller right than to patch a pod, which would be enough to run any image. So the API server
also compares: the process may change that annotation and nothing else.
"""

from typing import Any

from surge.policy.scale_in import COST

__all__ = ["rights"]

NAME = "surge-scale-in"
RBAC, ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
SAME = ("labels", "finalizers", "ownerReferences")


def rights(namespace: str, subject: dict[str, str], user: str) -> list[dict[str, Any]]:
    """A Role with its binding to `subject`, and a ValidatingAdmissionPolicy with its own.

    namespace: of the filters. user: the subject as the API server names it in a request.
    """
    place = {"name": NAME, "namespace": namespace}
    role = {"apiGroup": RBAC, "kind": "Role", "name": NAME}
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": place,
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]},
                {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
            ],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": place,
            "roleRef": role,
            "subjects": [subject],
        },
        _policy(user),
        {
            "apiVersion": f"{ADMISSION}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        },
    ]


def _policy(user: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["UPDATE"],
                        "resources": ["pods"],
                    }
                ]
            },
            "matchConditions": [{"name": "by-us", "expression": f"request.userInfo.username == '{user}'"}],
            "variables": [
                {"name": name, "expression": f"{pod}.metadata.?annotations.orValue({{}})"}
                for name, pod in {"now": "object", "before": "oldObject"}.items()
            ],
            "validations": [{"expression": _unchanged(), "message": MESSAGE}],
        },
    }


MESSAGE = f"this user may change the annotation {COST} of a pod, and nothing else"


def _unchanged() -> str:
    """CEL. The API server itself keeps name, namespace and status as they were, and wants a whole number."""
    others = " && ".join(
        f"variables.{one}.all(k, k == '{COST}' || variables.{other}[?k] == optional.of(variables.{one}[k]))"
        for one, other in (("now", "before"), ("before", "now"))
    )
    same = " && ".join(f"object.metadata.?{field} == oldObject.metadata.?{field}" for field in SAME)
    return f"object.spec == oldObject.spec && {same} && {others}"
