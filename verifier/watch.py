"""Keeps the pairs what the API server says they are: list, watch, and again."""

import time
from urllib.parse import urlencode

import structlog

from surge.policy.gpu.shapes import PAIR_LABEL
from verifier.api import Api, ApiError
from verifier.pairs import Pairs

__all__ = ["follow"]

SELECTOR = "=".join(PAIR_LABEL)
WATCH_S = 240
SILENCE_S = 300
CALL_S = 10
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0


def follow(api: Api, pairs: Pairs) -> None:
    """Never returns; survives outages of the API server."""
    log, wait_s = structlog.get_logger("surge.verifier"), FIRST_WAIT_S
    while True:
        try:
            version = _list(api, pairs)
            wait_s = FIRST_WAIT_S
            while version:
                version = _watch(api, pairs, version)
        except ApiError as error:
            pairs.lose_sight()
            log.warning("API server lost", error=str(error), again_in_s=wait_s)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _list(api: Api, pairs: Pairs) -> str:
    [listed] = api.lines(_path(), timeout_s=CALL_S)
    pairs.replace(listed["items"])
    return listed["metadata"]["resourceVersion"]


def _watch(api: Api, pairs: Pairs, version: str) -> str | None:
    """From where to watch on; None when that is too long ago, so that a list is due."""
    path = _path(watch="1", resourceVersion=version, timeoutSeconds=str(WATCH_S), allowWatchBookmarks="true")
    try:
        for event in api.lines(path, timeout_s=SILENCE_S):
            if event["type"] == "ERROR":
                return None
            metadata = event["object"]["metadata"]
            version = metadata["resourceVersion"]
            if event["type"] == "DELETED":
                pairs.forget(metadata["uid"])
            elif event["type"] != "BOOKMARK":
                pairs.see(event["object"])
    except ApiError as error:
        if error.status == 410:
            return None
        raise
    return version


def _path(**query: str) -> str:
    return f"/api/v1/pods?{urlencode({'labelSelector': SELECTOR, **query})}"
