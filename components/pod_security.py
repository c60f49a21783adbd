"""What the restricted pod security standard wants, and a root file system that nobody writes to."""

import pulumi_kubernetes as k8s

__all__ = ["UNPRIVILEGED", "USER", "as_user"]

USER = 65_532
UNPRIVILEGED: k8s.core.v1.SecurityContextArgsDict = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def as_user(*, reads_files: bool) -> k8s.core.v1.PodSecurityContextArgsDict:
    """Of a pod of our own images. reads_files: from volumes, which its group may read then."""
    context: k8s.core.v1.PodSecurityContextArgsDict = {
        "run_as_non_root": True,
        "run_as_user": USER,
        "run_as_group": USER,
        "seccomp_profile": {"type": "RuntimeDefault"},
    }
    return {**context, "fs_group": USER} if reads_files else context
