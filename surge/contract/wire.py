"""AMQP 0-9-1 as it goes by: frames to events, events to the fate of each message."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pika.frame
from pika import spec

__all__ = ["Delivery", "Event", "Frames", "deliveries", "event_of", "strays"]

ANSWERS = {"ack", "nack", "reject"}


@dataclass(frozen=True)
class Event:
    """at: seconds of the event loop. kind: deliver, ack, ... or readyz. value: what the kind is about."""

    at: float
    kind: str
    connection: int = 0
    channel: int = 0
    tag: int = 0
    value: Any = None


class Frames:
    """Cuts a stream of bytes into (frame, its bytes)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[tuple[Any, bytes]]:
        self._rest += block
        while self._rest:
            length, frame = pika.frame.decode_frame(self._rest)
            if frame is None:
                return
            yield frame, self._rest[:length]
            self._rest = self._rest[length:]


def event_of(frame: Any, at: float, connection: int) -> Event | None:
    """What the frame means to the contract; None for those that mean nothing to it."""
    method = getattr(frame, "method", None)
    if type(method) not in MEANINGS:
        return None
    kind, value = MEANINGS[type(method)]
    return Event(
        at, kind, connection, frame.channel_number, getattr(method, "delivery_tag", 0), value(method)
    )


def _consumer(method: Any) -> tuple[str, bool, Any]:
    return method.queue, bool(method.no_ack), (method.arguments or {}).get("x-priority")


def _reason(method: Any) -> str:
    return f"{method.reply_code} {method.reply_text}"


def _nothing(_method: Any) -> None:
    return None


MEANINGS: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    spec.Connection.OpenOk: ("open-ok", _nothing),
    spec.Connection.Close: ("close", _reason),
    spec.Channel.Close: ("close", _reason),
    spec.Basic.Qos: ("qos", lambda method: method.prefetch_count),
    spec.Basic.Consume: ("consume", _consumer),
    spec.Basic.ConsumeOk: ("consume-ok", _nothing),
    spec.Basic.Cancel: ("cancel", _nothing),
    spec.Basic.Ack: ("ack", lambda method: bool(method.multiple)),
    spec.Basic.Nack: ("nack", lambda method: bool(method.multiple)),
    spec.Basic.Reject: ("reject", _nothing),
}


@dataclass
class Delivery:
    """answer: ack, nack or reject, and when; empty while the worker holds the message."""

    message: str
    place: tuple[int, int, int]
    at: float
    answer: str = ""
    answered_at: float = field(default=0.0)

    @property
    def took_s(self) -> float:
        return self.answered_at - self.at


def deliveries(events: Iterable[Event]) -> list[Delivery]:
    """Every delivery with its answer, in the order of the deliveries."""
    return _replay(events)[0]


def strays(events: Iterable[Event]) -> list[Event]:
    """Answers to nothing that was held on their channel: a second ack, or one of another connection."""
    return _replay(events)[1]


def _replay(events: Iterable[Event]) -> tuple[list[Delivery], list[Event]]:
    seen: list[Delivery] = []
    stray: list[Event] = []
    for event in events:
        place = (event.connection, event.channel, event.tag)
        if event.kind == "deliver":
            seen.append(Delivery(str(event.value), place, event.at))
        elif event.kind in ANSWERS:
            held = [one for one in seen if not one.answer and _answers(event, one)]
            for one in held:
                one.answer, one.answered_at = event.kind, event.at
            if not held:
                stray.append(event)
    return seen, stray


def _answers(event: Event, one: Delivery) -> bool:
    connection, channel, tag = one.place
    if (connection, channel) != (event.connection, event.channel):
        return False
    multiple = event.value is True
    return tag == event.tag or (multiple and (tag <= event.tag or event.tag == 0))
