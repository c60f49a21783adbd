"""The verifier of pairs on a cluster. local: a process on loopback. cluster: a pod of a real cluster."""

from components.verifier.cluster import Verifier, VerifierArgs
from components.verifier.local import LocalVerifier, LocalVerifierArgs

__all__ = ["LocalVerifier", "LocalVerifierArgs", "Verifier", "VerifierArgs"]
