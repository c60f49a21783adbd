"""Frozen settings of one server process, and the two files it follows while it runs: filters and tokens."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from surge.policy.demand import WINDOWS_S

__all__ = ["Config", "ConfigError", "FilterSpec", "Followed", "Limits", "read_filters", "read_tokens"]

SETTINGS = (
    "listen",
    "limits",
    "token_file",
    "broker",
    "sample_s",
    "stale_s",
    "windows_s",
    "filters_file",
    "grace_s",
)
TLS_FILES = ("certificate", "key", "client_ca")
LISTEN = ("host", "port", *TLS_FILES)
MOST_BYTES = 16 * 2**20
# Of every metric that the server exports.
PREFIX = "surge_saturation_"
SHORTEST_TOKEN = 16
BROKER = ("vhost", "nodes", "management", "source", "amqp", "events", "credentials_file", "ca_file")
SOURCES = ("auto", "metrics-detailed", "management")
SET = ("name", "queue", "slots", "drain_s", "lead_s", "beta", "members")
FILTER = (*SET[:-1], "service_s")


class ConfigError(Exception):
    """A file of the server is wrong; the message says which, what, and what to write instead."""


@dataclass(frozen=True)
class FilterSpec:
    """One filter: queue on the broker, messages a worker takes at a time, wall seconds of its law.

    lead_s: from asking for a worker to its first message; 0 when nobody knows. members: the filters that
    a worker set serves; `queue` is the bell that its workers consume then.
    """

    name: str
    queue: str
    slots: int
    service_s: float
    drain_s: float
    beta: float
    lead_s: float = 0.0
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds of one process that no KEDA meets: it keeps one connection per ScaledObject at most.

    connections: at a time, in their TLS handshake or open. request_bytes: head of a request.
    refusals_per_s: answers 401 before 429 takes over; a right token is served all the same.
    """

    connections: int = 4096
    request_bytes: int = 16_384
    refusals_per_s: float = 20.0


@dataclass(frozen=True)
class Config:
    """Settings in wall seconds.

    nodes, management, amqp: base URLs of the metrics listener of each broker node, and of management
    and AMQP listeners. source: which to read, `auto` for the first of them that answers. ca_file: who signed
    the broker's certificates, besides the system's authorities. events: listen to the event exchange too.
    client_ca: who signs the certificates that clients must show; None asks for none.
    grace_s: how long the server stays up, unready, after SIGTERM.
    """

    host: str
    port: int
    certificate: Path | None
    key: Path | None
    token_file: Path
    nodes: tuple[str, ...]
    vhost: str
    sample_s: float
    stale_s: float
    windows_s: tuple[float, ...]
    filters_file: Path
    grace_s: float = 1.0
    source: str = "auto"
    management: tuple[str, ...] = ()
    amqp: tuple[str, ...] = ()
    events: bool = False
    credentials_file: Path | None = None
    ca_file: Path | None = None
    client_ca: Path | None = None
    limits: Limits = Limits()

    @classmethod
    def read(cls, file: Path) -> "Config":
        """Return the settings in the JSON file; relative paths start at its folder. Raises ConfigError."""
        given = _object(file)
        try:
            return cls._of(given, file.absolute().parent)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{file}: {what}") from None

    @classmethod
    def _of(cls, given: Mapping[str, Any], folder: Path) -> "Config":
        _known("settings", given, SETTINGS)
        broker, listen = given["broker"], _known("listen", given["listen"], LISTEN)
        certificate, key, client_ca = (
            None if listen.get(name) is None else folder / listen[name] for name in TLS_FILES
        )
        if (certificate is None) != (key is None):
            raise ValueError("listen: certificate and key belong together")
        if client_ca is not None and certificate is None:
            raise ValueError(
                "listen: client_ca without certificate and key: nobody would be asked for theirs"
            )
        sample, stale = _seconds("sample_s", given["sample_s"]), _seconds("stale_s", given["stale_s"])
        if stale < 2 * sample:
            raise ValueError(f"stale_s {stale:g} is less than two samples of {sample:g} s")
        return cls(
            host=str(listen["host"]),
            port=_port(listen["port"]),
            certificate=certificate,
            key=key,
            token_file=folder / given["token_file"],
            **_broker(_known("broker", broker, BROKER), folder),
            sample_s=sample,
            stale_s=stale,
            windows_s=_windows(given.get("windows_s", WINDOWS_S)),
            filters_file=folder / given["filters_file"],
            grace_s=_seconds("grace_s", given.get("grace_s", cls.grace_s), or_zero=True),
            client_ca=client_ca,
            limits=_limits(given.get("limits", {})),
        )


@dataclass
class Followed:
    """A file that may be replaced at any time. `changed()` is its content when it is new, else None."""

    file: Path
    _mark: tuple[int, int, int] | None = field(default=None, repr=False)
    _content: bytes | None = field(default=None, repr=False)

    def changed(self) -> bytes | None:
        """Raises ConfigError when the file cannot be read; a later call tries again."""
        try:
            state = self.file.stat()
            mark = (state.st_ino, state.st_mtime_ns, state.st_size)
            if mark == self._mark:
                return None
            if state.st_size > MOST_BYTES:
                raise ConfigError(f"{self.file}: larger than {MOST_BYTES // 2**20} MiB")
            content = self.file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be read: {error.strerror}") from None
        self._mark = mark
        if content == self._content:
            return None
        self._content = content
        return content


def read_filters(content: bytes, name: str = "filters_file") -> dict[str, FilterSpec]:
    """Return filters and worker sets by name. Raises ConfigError when anything in `content` is wrong."""
    try:
        given = _known("the file", json.loads(content), ("filters", "sets"))
        specs = [_filter(_known("a filter", entry, FILTER)) for entry in given["filters"]]
        specs += _sets(given.get("sets", []), {spec.name: spec for spec in specs})
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{name}: {what}") from None
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) != len(specs) or len({spec.queue for spec in specs}) != len(specs):
        raise ConfigError(f"{name}: two filters or sets share a name or a queue")
    return by_name


def read_tokens(content: bytes, name: str = "token_file") -> tuple[bytes, ...]:
    """Return the one or two accepted tokens. Raises ConfigError, which never repeats a token."""
    tokens = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not 1 <= len(tokens) <= 2:
        raise ConfigError(f"{name}: {len(tokens)} tokens: want one, or two while one replaces the other")
    if any(len(token) < SHORTEST_TOKEN or not token.isascii() for token in tokens):
        raise ConfigError(f"{name}: a token is not ASCII or shorter than {SHORTEST_TOKEN} signs")
    return tokens


def _object(file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: want a JSON object")
    return value


def _filter(entry: Mapping[str, Any]) -> FilterSpec:
    slots, beta = entry["slots"], float(entry["beta"])
    if type(slots) is not int or not 1 <= slots <= 10_000:
        raise ValueError(f"slots {slots!r}: want a whole number of at least 1")
    if not (isfinite(beta) and beta >= 0):
        raise ValueError(f"beta {beta}: want 0 or more")
    name = _label("name", entry["name"])
    if "/" in name:
        raise ValueError(f"name {name!r}: want no /, it would end the name in /v1/filters/NAME")
    return FilterSpec(
        name=name,
        queue=_label("queue", entry["queue"]),
        slots=slots,
        service_s=_seconds("service_s", entry["service_s"]),
        drain_s=_seconds("drain_s", entry["drain_s"]),
        beta=beta,
        lead_s=_seconds("lead_s", entry.get("lead_s", 0), or_zero=True),
    )


def _sets(entries: Iterable[Mapping[str, Any]], filters: Mapping[str, FilterSpec]) -> list[FilterSpec]:
    taken: dict[str, str] = {}
    specs: list[FilterSpec] = []
    for entry in entries:
        name, members = _known("a set", entry, SET)["name"], tuple(entry["members"])
        if not members or any(each not in filters for each in members):
            raise ValueError(f"set {name!r}: members {list(members)}: want names of filters of this file")
        for each in members:
            if (other := taken.setdefault(each, name)) != name or members.count(each) > 1:
                raise ValueError(
                    f"filter {each!r} is twice in a set, or in {other!r} and {name!r}: want once"
                )
        mean_s = sum(filters[each].service_s for each in members) / len(members)
        specs.append(replace(_filter({**entry, "service_s": mean_s}), members=members))
    return specs


def _label(key: str, text: object) -> str:
    # RabbitMQ 3.10 does not escape label values: with these signs a name could read as two labels.
    if not isinstance(text, str) or not text.isprintable() or set(text) & {'"', "\\"}:
        raise ValueError(f'{key} {str(text)[:60]!r}: want printable text without " and \\')
    if not 0 < len(text) <= 255:
        raise ValueError(f"{key}: {len(text)} signs: want 1 to 255")
    return text


def _seconds(key: str, value: object, *, or_zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{key} {value!r}: want seconds")
    if value < 0 or (value == 0 and not or_zero):
        raise ValueError(f"{key} {value!r}: want seconds, {'0 or more' if or_zero else 'more than 0'}")
    return float(value)


def _windows(given: Iterable[object]) -> tuple[float, ...]:
    windows = tuple(_seconds("windows_s", each) for each in given)
    if not 3 <= len(windows) <= 4:
        raise ValueError(f"windows_s: {len(windows)} lengths: want three or four")
    if not all(shorter < longer for shorter, longer in pairwise(windows)):
        raise ValueError("windows_s: want lengths of which each is longer than the one before")
    return windows


def _limits(given: Mapping[str, Any]) -> Limits:
    known = _known("limits", given, [each.name for each in fields(Limits)])
    limits = Limits(**known)
    for name, least in (("connections", 1), ("request_bytes", 1024)):
        value = getattr(limits, name)
        if type(value) is not int or value < least:
            raise ValueError(f"limits.{name} {value!r}: want a whole number of at least {least}")
    rate = limits.refusals_per_s
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not (isfinite(rate) and rate > 0):
        raise ValueError(f"limits.refusals_per_s {rate!r}: want more than 0")
    return limits


def _known(key: str, given: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    # A misspelt client_ca must not mean that everybody may come in.
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"{key}: there is no {unknown[0]!r}; there are {', '.join(names)}")
    return given


def _port(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 65_535:
        raise ValueError(f"listen.port {value!r}: want 0 to 65535")
    return value


def _broker(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    source, managed = given.get("source", "auto"), "management" in given
    if source not in SOURCES:
        raise ValueError(f"broker.source {str(source)[:60]!r}: want one of {', '.join(SOURCES)}")
    ca = given.get("ca_file")
    settings: dict[str, Any] = {
        "source": source,
        "vhost": _label("broker.vhost", given["vhost"]),
        "nodes": (),
        "ca_file": None if ca is None else folder / ca,
    }
    if source == "metrics-detailed" or (source == "auto" and ("nodes" in given or not managed)):
        settings["nodes"] = _urls("broker.nodes", given["nodes"])
    if source == "management" or (source == "auto" and managed):
        settings["management"] = _urls("broker.management", given["management"])
    if "amqp" in given:
        settings["amqp"] = _urls("broker.amqp", given["amqp"], ("amqp", "amqps"))
    settings["events"] = _switch("broker.events", given.get("events", False))
    if settings["events"] and "amqp" not in given:
        raise ValueError("broker.events needs broker.amqp: they come over AMQP")
    if settings.keys() & {"management", "amqp"}:
        settings["credentials_file"] = folder / given["credentials_file"]
    return settings


def _switch(key: str, value: object) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{key} {value!r}: want true or false")
    return value


def _urls(key: str, urls: object, schemes: tuple[str, str] = ("http", "https")) -> tuple[str, ...]:
    if not isinstance(urls, list) or not urls or len(set(urls)) != len(urls):
        raise ValueError(f"{key}: want a list of URLs, one per node")
    for url in urls:
        if not isinstance(url, str) or url.partition("://")[0] not in schemes or "@" in url:
            shown = str(url).rpartition("@")[2][:60]
            raise ValueError(f"{key}: {shown!r} is no {' or '.join(schemes)} URL without a user")
    return tuple(url.rstrip("/") for url in urls)
