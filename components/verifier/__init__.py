"""The verifier of pairs on a cluster. local: a process on loopback. cluster: a pod of a real cluster."""

from components.verifier.cluster import Verifier, VerifierArgs
from components.verifier.local import LocalVerifier, LocalVerifierArgs
from components.verifier.pods import PAIR_ALERTS

__all__ = ["PAIR_ALERTS", "LocalVerifier", "LocalVerifierArgs", "Verifier", "VerifierArgs"]
