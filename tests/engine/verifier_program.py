"""A program with nothing but the verifier of a real cluster, and the namespace it is in."""

from collections.abc import Callable

import pulumi_kubernetes as k8s

from components.verifier import Verifier, VerifierArgs
from tests.engine.saturation_program import IMAGE, cluster

__all__ = ["program"]


def program(image: str = IMAGE) -> Callable[[], Verifier]:
    def run() -> Verifier:
        namespace = k8s.core.v1.Namespace("surge", metadata={"name": "surge"})
        return Verifier("one", VerifierArgs(cluster=cluster(), image=image, namespace=namespace, monitors=[]))

    return run
