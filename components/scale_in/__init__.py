"""What makes scale-ins take idle workers first, on every kind of cluster."""

from components.scale_in.cluster import ScaleIn, ScaleInArgs
from components.scale_in.local import LocalScaleIn, LocalScaleInArgs

__all__ = ["LocalScaleIn", "LocalScaleInArgs", "ScaleIn", "ScaleInArgs"]
