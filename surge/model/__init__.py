"""Settings and catalogue: the only readers of YAML in the project."""

from surge.model.catalogue import Catalogue
from surge.model.filter import Filter
from surge.model.problems import ProblemsError
from surge.model.settings import Broker, Cluster, Fleet, Prometheus, Saturation, Settings
from surge.model.shard import Shard
from surge.model.worker_sets import WorkerSet, services, worker_sets
from surge.model.workers import Models, Workers

__all__ = [
    "Broker",
    "Catalogue",
    "Cluster",
    "Filter",
    "Fleet",
    "Models",
    "ProblemsError",
    "Prometheus",
    "Saturation",
    "Settings",
    "Shard",
    "WorkerSet",
    "Workers",
    "services",
    "worker_sets",
]
