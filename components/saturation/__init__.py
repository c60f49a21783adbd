"""The saturation server on a cluster, and how KEDA is allowed to read it.

settings, keda: the same for every cluster. local: a process on loopback. cluster: pods of a real cluster.
"""

from components.saturation.cluster import SaturationServer, SaturationServerArgs
from components.saturation.local import LocalSaturation, LocalSaturationArgs
from components.saturation.outputs import SaturationOutputs

__all__ = [
    "LocalSaturation",
    "LocalSaturationArgs",
    "SaturationOutputs",
    "SaturationServer",
    "SaturationServerArgs",
]
