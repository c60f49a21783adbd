"""One look whether a process is up: over HTTP, by a TCP connection, or by a command."""

import http.client
import socket
import ssl
import subprocess
import urllib.parse
from collections.abc import Mapping

from .process_spec import Ready

__all__ = ["is_ready"]

LOOK_S = 2.0


def is_ready(ready: Ready, environment: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it is up, and what was seen. Placeholders must be filled in already."""
    try:
        if ready.http is not None:
            return _http(ready)
        if ready.tcp is not None:
            host, _, port = ready.tcp.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=LOOK_S):
                return True, "connected"
        return _exec(ready.exec or [], environment)
    except (OSError, http.client.HTTPException) as error:
        return False, f"{type(error).__name__}: {error}"
    except subprocess.TimeoutExpired:
        return False, "the command did not end in time"


def _http(ready: Ready) -> tuple[bool, str]:
    url = urllib.parse.urlsplit(ready.http or "")
    connection = _connection(ready, url)
    try:
        connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
        status = connection.getresponse().status
    finally:
        connection.close()
    return status == ready.expect_status, f"HTTP status {status}"


def _connection(ready: Ready, url: urllib.parse.SplitResult) -> http.client.HTTPConnection:
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=LOOK_S)
    context = ssl.create_default_context(cafile=ready.ca_file)
    if ready.certificate_file:
        context.load_cert_chain(ready.certificate_file, ready.key_file)
    return http.client.HTTPSConnection(url.hostname or "", url.port, timeout=LOOK_S, context=context)


def _exec(command: list[str], environment: Mapping[str, str]) -> tuple[bool, str]:
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=10, check=False
    )
    lines = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, f"exit status {done.returncode}" + (f": {lines[-1][:200]}" if lines else "")
