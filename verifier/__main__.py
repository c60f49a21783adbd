"""`python -m verifier`: serve /metrics until SIGTERM. All it asks the API server for is pods."""

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from verifier.api import Api
from verifier.pairs import Pairs
from verifier.watch import follow


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m verifier", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kubeconfig", type=Path, help="JSON; without it, the pod's own service account")
    arguments = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )
    api = Api.of(arguments.kubeconfig) if arguments.kubeconfig else Api.in_cluster()
    pairs, registry, over = Pairs(), CollectorRegistry(), threading.Event()
    registry.register(pairs)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    watch = threading.Thread(target=_until_it_fails, args=(api, pairs, over), daemon=True)
    watch.start()
    start_http_server(arguments.port, addr=arguments.host, registry=registry)
    over.wait()
    watch.join(0.1)
    sys.exit(0 if watch.is_alive() else 1)


def _until_it_fails(api: Api, pairs: Pairs, over: threading.Event) -> None:
    """A verifier that sees nothing any more must not go on saying that all is well."""
    try:
        follow(api, pairs)
    finally:
        over.set()


if __name__ == "__main__":
    main()
