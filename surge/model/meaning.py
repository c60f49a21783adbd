"""What each key of the catalogue means, in a line: for editors, the command's help and the docs."""

from collections.abc import Mapping

__all__ = ["MEANING", "PATTERNS"]

MEANING: Mapping[str, str] = {
    "image": "What the workers run, by digest, so that every worker runs the same code.",
    "model": "What the image loads: nas://share/folder or s3://bucket/key.",
    "class": "Who waits for it; sets the defaults.",
    "worker-set": "Of class pooled alone: the warm workers that read the queues of all its filters.",
    "priority": "Who gets GPUs first when there are too few.",
    "runs-in": "On whose machines: our own, a cloud's, or both.",
    "slots": "Requests a worker works on at a time (the prefetch of its consumer).",
    "service-s": "Mean seconds of GPU work one request takes.",
    "warmup-s": "Seconds from a worker's start to its first request: mostly the model load.",
    "gpus": "Whole GPUs of one worker, all on one node.",
    "gpu": "Part of one GPU instead, or the pool to run in.",
    "gpu.memory-mib": "Memory of the part.",
    "gpu.cores": "Percent of the card's cores.",
    "gpu.trainer": "A second container on the worker's own card.",
    "gpu.trainer.image": "What it runs, by digest.",
    "gpu.trainer.memory-mib": "Memory of its part.",
    "gpu.trainer.cores": "Percent of the card's cores.",
    "gpu.trainer.runs": "As long as the worker, or before it and then no more.",
    "gpu.pool": "A pool of the stack; without it the one that the shape wastes least of.",
    "min": "Fewest workers; 0 in class scale-to-zero and for Jobs alone. In a worker set: of the set.",
    "max": "Most workers. In a worker set: of the set.",
    "signal": "What sizes it: the workers that the arrivals need, or the ratio of busy workers.",
    "target": "The ratio to steer to; auto takes it from min, max, slots and warmup-s. Usually 0.7.",
    "slo-s": "A request that waited longer is late.",
    "drain-s": "A backlog should be worked off in this time.",
    "longest-job-s": "No request takes longer; a worker that leaves has this long to finish.",
    "owner": "Who to ask.",
    "queue": "The queue it reads: filter.<name> unless said otherwise.",
    "queue-options": "How the queue treats messages; may change while it lives.",
    "queue-options.delivery-limit": "A message that came back this often becomes a dead letter.",
    "queue-options.max-length": "Messages it holds; more are refused to the publisher, none is dropped.",
    "queue-options.message-ttl-s": "A message that waited longer becomes a dead letter.",
    "select.class": "Filters of this class.",
    "select.owner": "Filters of this owner.",
    "select.priority": "Filters of this priority, before any override.",
    "select.names": "Filters whose name fits, with * and ?: photo-*.",
}

_IMAGE = "^[A-Za-z0-9._/:-]+@sha256:[0-9a-f]{64}$"
PATTERNS: Mapping[str, str] = {
    "image": _IMAGE,
    "gpu.trainer.image": _IMAGE,
    "model": "^(nas|s3)://[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?(/[A-Za-z0-9._=+@-]+)+$",
    "worker-set": "^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$",
    "queue": "^filter\\.[a-z0-9.-]{1,113}$",
    "select.names": "^[a-z0-9*?-]{1,50}$",
}
