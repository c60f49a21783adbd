"""One filter of the catalogue. Times are model seconds."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from surge.model.base import Count, DnsLabel, Rule, Seconds, Strict, dns_label
from surge.model.problems import shown
from surge.model.values import ModelReference, Place, Places, Priority, QueueOptions, Target
from surge.policy.gpu import Fraction, Pair, Shape, Share, Whole
from surge.policy.jobs import runs_as_jobs

__all__ = ["RULES", "Filter", "Gpu", "Trainer", "filter_name", "image_by_digest"]

DIGEST_SIGNS = frozenset("0123456789abcdef")
QUEUE_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
IMAGE_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._/:@ABCDEFGHIJKLMNOPQRSTUVWXYZ")


MemoryMib = Annotated[int, Field(ge=1, le=1_000_000)]
Cores = Annotated[int, Field(ge=0, le=100)]
ServiceClass = Literal["interactive", "batch", "scale-to-zero", "pooled"]


def filter_name(text: str) -> str:
    """Return `text` when it can name a filter, else raise ValueError.

    50 signs: a pod's name adds 17 to its Deployment's, and a label holds 63; KEDA adds 9.
    """
    return dns_label(text, 50)


def image_by_digest(text: str) -> str:
    """Return `text` when it names an image by digest, else raise ValueError."""
    name, _, digest = text.partition("@sha256:")
    if not name or not IMAGE_SIGNS.issuperset(text):
        raise ValueError(f"{shown(text)} is no image reference: want registry/name@sha256:<64 hex digits>")
    if len(digest) != 64 or not DIGEST_SIGNS.issuperset(digest):
        raise ValueError(
            f"{shown(text)} is not by digest, so two pods could run different code: "
            "want registry/name@sha256:<64 hex digits>"
        )
    return text


def _queue(text: str) -> str:
    rest = text.removeprefix("filter.")
    if rest == text or not rest or len(text) > 120 or not QUEUE_SIGNS.issuperset(rest):
        raise ValueError(
            f"{shown(text)} cannot be a filter's queue: workers may read `filter.` followed by "
            "a-z, 0-9, - and . (120 signs in all)"
        )
    return text


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{shown(text)} is no text a person can read")
    return text


class Trainer(Strict):
    """The container that trains beside the worker, on the worker's own card.

    runs: `first`, it ends before the worker starts; `beside`, it lives as long as the worker.
    """

    image: Annotated[str, Field(max_length=500), AfterValidator(image_by_digest)]
    memory_mib: MemoryMib | None = None
    cores: Cores | None = None
    runs: Literal["beside", "first"] = "beside"


class Gpu(Strict):
    """Part of one card for the worker (MiB, percent of its cores), and the trainer that shares the card.

    pool: the nodes to run on; without it the pool whose cards the shape wastes least of.
    """

    memory_mib: MemoryMib | None = None
    cores: Cores | None = None
    trainer: Trainer | None = None
    pool: DnsLabel | None = None

    @property
    def is_whole(self) -> bool:
        return self.memory_mib is None and self.cores is None and self.trainer is None


class Filter(Strict):
    """One AI effect: an image, a queue, a GPU shape, a service class.

    model: the folder or object its workers load. worker_set: the workers that a pooled filter shares
    with others, None in every other class; min and max are the set's. runs_in: on whose machines.
    service_s: mean seconds of GPU work a message takes. warmup_s: from pod start to its first
    message. slots: messages a worker works on at a time (prefetch). gpus: whole GPUs of one worker.
    gpu: part of one GPU instead, or the pool. min, max: workers. signal: what sizes the filter;
    target: the ratio it is steered to or `auto`, None unless the signal is `ratio`. slo_s: a request that
    waited longer is late. drain_s: a backlog should be gone after this. longest_job_s: no message
    takes longer. owner: who to ask.
    """

    name: Annotated[str, AfterValidator(filter_name)]
    image: Annotated[str, Field(max_length=500), AfterValidator(image_by_digest)]
    model: ModelReference | None = None
    service_class: Annotated[ServiceClass, Field(alias="class")] = "interactive"
    worker_set: Annotated[str, AfterValidator(filter_name)] | None = None
    priority: Priority = "normal"
    runs_in: Places = ("cloud", "onprem")
    slots: Annotated[Count, Field(le=64)] = 1
    service_s: Seconds
    warmup_s: Seconds = 60.0
    gpus: Annotated[Count, Field(le=16)] = 1
    gpu: Gpu | None = None
    min: Annotated[int, Field(ge=0, le=100_000)]
    max: Count
    signal: Literal["demand", "ratio"] = "demand"
    target: Target | None = None
    slo_s: Seconds = 60.0
    drain_s: Seconds = 60.0
    longest_job_s: Seconds
    owner: Annotated[str, Field(max_length=100), AfterValidator(_text)]
    queue: Annotated[str, AfterValidator(_queue)]
    queue_options: QueueOptions = QueueOptions()

    @property
    def shape(self) -> Shape:
        """What a worker asks of the GPUs."""
        gpu = self.gpu
        if gpu is None or gpu.is_whole:
            return Whole(self.gpus)
        worker = Share(gpu.memory_mib, gpu.cores)
        if gpu.trainer is None:
            return Fraction(worker)
        trainer = Share(gpu.trainer.memory_mib, gpu.trainer.cores)
        return Pair(trainer, worker, trains_first=gpu.trainer.runs == "first")

    @property
    def runs_as_jobs(self) -> bool:
        """Its workers end, and leave the time of their end to nobody else."""
        return runs_as_jobs(self.service_class, self.longest_job_s)

    def runs_at(self, place: Place) -> bool:
        return place in self.runs_in


def _minimum(least: int, kind: str) -> str | None:
    if kind == "scale-to-zero" and least != 0:
        return f"{least}, but a filter of class scale-to-zero rests at 0: want min: 0, or class: interactive"
    if kind not in {"scale-to-zero", "batch"} and least == 0:
        return (
            f"0 on class {kind}: a first request would wait a whole warm-up; want 1, or class scale-to-zero"
        )
    return None


def _minimum_of_batch(least: int, kind: str, longest: float) -> str | None:
    if kind != "batch":
        return None
    if runs_as_jobs(kind, longest) and least > 0:
        return (
            f"{least}, but a job of up to {longest:g} s is too long for a worker that may be asked to leave: "
            "the filter runs as Jobs, which end when the queue is empty; want min: 0"
        )
    if least == 0 and not runs_as_jobs(kind, longest):
        return "0 on class batch: a first request would wait a whole warm-up; want 1, or class scale-to-zero"
    return None


def _order(least: int, most: int) -> str | None:
    return f"{least} is more than max {most}" if least > most else None


def _target(target: float | str | None, signal: str) -> str | None:
    if signal == "demand" and target is not None:
        return "only the signal ratio has a target; demand asks for workers outright: remove the key"
    if signal == "ratio" and target is None:
        return "missing: the signal ratio is steered to a target, usually 0.7, or auto"
    return None


def _longest_job(longest: float, mean: float) -> str | None:
    if longest < mean:
        return (
            f"{longest:g} is shorter than the mean job, service-s {mean:g}: workers would be cut off at work"
        )
    return None


def _batch_signal(signal: str, kind: str) -> str | None:
    if kind == "batch" and signal == "ratio":
        return "ratio on class batch: work that waits keeps the ratio at 1 and the fleet at max; want demand"
    return None


def _pooled_signal(signal: str, kind: str) -> str | None:
    if kind == "pooled" and signal == "ratio":
        return (
            "ratio on class pooled: its workers are busy with the queues of others too, so a ratio of one "
            "queue says nothing; want demand"
        )
    return None


def _worker_set(name: str | None, kind: str) -> str | None:
    if kind == "pooled" and name is None:
        return "missing: a filter of class pooled shares the workers of a set; want worker-set: NAME"
    if kind != "pooled" and name is not None:
        return (
            f"{shown(name)} on class {kind}: only filters of class pooled share workers; remove the key, "
            "or want class: pooled"
        )
    return None


def _batch_slo(slo: float, drain: float, kind: str) -> str | None:
    if kind == "batch" and slo < drain:
        return f"{slo:g} is shorter than drain-s {drain:g}: the backlog is worked off in drain-s, too late"
    return None


def _whole_or_part(gpu: Any, gpus: int) -> str | None:
    if gpus != 1 and gpu is not None and not Gpu.model_validate(gpu).is_whole:
        return (
            f"part of a card beside gpus: {gpus}: a worker has whole GPUs or part of one; remove one of them"
        )
    return None


RULES = (
    Rule(("gpu", "gpus"), _whole_or_part),
    Rule(("min", "class"), _minimum),
    Rule(("min", "class", "longest-job-s"), _minimum_of_batch),
    Rule(("min", "max"), _order),
    Rule(("target", "signal"), _target),
    Rule(("longest-job-s", "service-s"), _longest_job),
    Rule(("signal", "class"), _batch_signal),
    Rule(("signal", "class"), _pooled_signal),
    Rule(("worker-set", "class"), _worker_set),
    Rule(("slo-s", "drain-s", "class"), _batch_slo),
)
