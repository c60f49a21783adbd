"""One filter on one cluster: its workers, and what sizes them."""

from components.filter_service.classes import disruption_budgets, priority_classes
from components.filter_service.model_volumes import ModelVolumes, ModelVolumesArgs
from components.filter_service.scaling import scaled_object
from components.filter_service.service import FilterService, FilterServiceArgs
from components.filter_service.shared import Shared

__all__ = [
    "FilterService",
    "FilterServiceArgs",
    "ModelVolumes",
    "ModelVolumesArgs",
    "Shared",
    "disruption_budgets",
    "priority_classes",
    "scaled_object",
]
