"""A worker of plain pika, as a team may bring one, and the same with one fault: FAULT JOB_S.

It keeps the contract in its own way: jobs in threads, everything of AMQP in the main loop.
"""

import os
import queue
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import AMQPError, ConnectionClosedByBroker

FAULT, JOB_S = sys.argv[1], float(sys.argv[2])
SLOTS, PRIORITY = int(os.environ["SURGE_SLOTS"]), int(os.environ["SURGE_PRIORITY"])
QUEUE, PORT = os.environ["SURGE_QUEUE"], int(os.environ["SURGE_PROBE_PORT"])
URL = Path(os.environ["SURGE_AMQP_URL_FILE"]).read_text()

stopping = threading.Event()
ready = threading.Event()
cold = threading.Event()


class Probe(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        well = self.path == "/healthz" or ready.is_set()
        self.send_response(200 if well else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Session:
    """One connection; `finished` holds (delivery tag, whether it went well) of jobs to answer."""

    def __init__(self, finished: "queue.SimpleQueue[tuple[int, bool]]") -> None:
        self.finished = finished
        self.held = self.taken = 0
        self.connection = pika.BlockingConnection(pika.URLParameters(URL))
        self.channel = self.connection.channel()
        if FAULT != "no-prefetch":
            self.channel.basic_qos(prefetch_count=10 * SLOTS if FAULT == "greedy" else SLOTS)
        self.tag = self.channel.basic_consume(
            "filter.somebody-elses" if FAULT == "other-queue" else QUEUE,
            self.take,
            auto_ack=FAULT == "auto-ack",
            arguments={} if FAULT == "no-priority" else {"x-priority": PRIORITY},
        )
        ready.set()

    def run(self) -> None:
        consuming = True
        while consuming or self.held:
            self.connection.process_data_events(0.02)
            if stopping.is_set() and consuming:
                if FAULT != "stays-ready":
                    ready.clear()
                if FAULT == "gives-back":
                    self.channel.basic_nack(0, multiple=True, requeue=True)
                    self.connection.close()
                    return
                if FAULT != "hungry":
                    self.channel.basic_cancel(self.tag)
                    consuming = False
                elif self.taken > SLOTS and not self.held:
                    consuming = False
            self.answer()
        self.connection.close()

    def take(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self.held += 1
        self.taken += 1
        if FAULT == "early-ack":
            channel.basic_ack(method.delivery_tag)
        threading.Thread(target=self.work, args=(method.delivery_tag, body), daemon=True).start()

    def work(self, tag: int, body: bytes) -> None:
        if FAULT == "lazy" and not cold.is_set():
            cold.set()
            time.sleep(4)
        time.sleep(JOB_S if body else 0)
        if FAULT == "dies-of-poison" and not body:
            os._exit(3)
        self.finished.put((tag, bool(body) or FAULT == "swallows"))

    def answer(self) -> None:
        while not self.finished.empty():
            tag, well = self.finished.get()
            self.held -= 1
            if FAULT in {"early-ack", "auto-ack"}:
                continue
            if not well:
                refuse = self.channel.basic_nack if FAULT == "nacks" else self.channel.basic_reject
                refuse(tag, requeue=True)
                continue
            self.channel.basic_ack(tag)
            if FAULT == "twice":
                self.channel.basic_ack(tag)


def main() -> int:
    if FAULT != "deaf":
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=HTTPServer(("127.0.0.1", PORT), Probe).serve_forever, daemon=True).start()
    if FAULT == "early-ready":
        ready.set()
    finished: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
    while not stopping.is_set():
        try:
            Session(finished).run()
        except (AMQPError, OSError) as error:
            if FAULT == "gives-up" or (FAULT == "only-cuts" and isinstance(error, ConnectionClosedByBroker)):
                raise
            if FAULT != "always-ready":
                ready.clear()
            if FAULT != "old-tag":
                finished = queue.SimpleQueue()
            time.sleep(0.2)
    while FAULT == "lingers":
        time.sleep(1)
    return 1 if FAULT == "exits-1" else 0


if __name__ == "__main__":
    sys.exit(main())
