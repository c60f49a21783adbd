"""The metric server's answers over a real TLS connection, good and bad."""

import http.server
import json
import ssl
import threading

import pytest

from providers.surge.pki import authority, certificate
from surge.cli.saturation_client import SaturationClient

PORT = 22_610
TOKEN = "a-token-of-the-test"
SAMPLE = {"filter": "ghibli", "active_ratio": 0.7, "unacked": 7, "ready": 0, "age_s": 0.1}


class Endpoints(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = {"/v1/filters/ghibli": 200, "/v1/filters/stale": 503}.get(self.path, 404)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            status = 401
        body = json.dumps(SAMPLE if status == 200 else {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002 -- the base class's name
        return


@pytest.fixture(scope="module")
def issued():
    root = authority("test", validity_days=1)
    leaf = certificate(
        "saturation",
        authority_certificate=root.certificate,
        authority_key=root.private_key,
        usages=["server"],
        validity_days=1,
        dns_names=["localhost"],
        ip_addresses=["127.0.0.1"],
    )
    return root, leaf


@pytest.fixture(scope="module")
def server(issued, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    (folder / "crt").write_text(issued[1].certificate)
    (folder / "key").write_text(issued[1].private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Endpoints)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{PORT}"
    listening.shutdown()
    listening.server_close()
    thread.join()


def test_a_sample_is_read_and_a_stale_or_unknown_filter_is_no_zero(server, issued):
    with SaturationClient(server, issued[0].certificate, TOKEN) as client:
        answers = client.read(["ghibli", "stale", "nobody"])
    assert (answers["ghibli"].state, answers["ghibli"].values["unacked"]) == ("ok", 7)
    assert answers["stale"].state == "HTTP 503: no fresh sample from the broker"
    assert answers["nobody"].state.startswith("HTTP 404")
    assert answers["stale"].values == answers["nobody"].values == {}


def test_a_wrong_token_is_named_without_being_shown(server, issued):
    with SaturationClient(server, issued[0].certificate, "another-token") as client:
        state = client.read(["ghibli"])["ghibli"].state
    assert state.startswith("HTTP 401")
    assert "another-token" not in state


def test_a_server_of_another_authority_is_not_believed(server):
    stranger = authority("stranger", validity_days=1)
    with SaturationClient(server, stranger.certificate, TOKEN) as client:
        assert "CERTIFICATE_VERIFY_FAILED" in client.read(["ghibli"])["ghibli"].state


def test_a_server_that_is_away_is_asked_once_and_not_once_per_filter(issued):
    with SaturationClient(f"https://127.0.0.1:{PORT + 1}", issued[0].certificate, TOKEN) as client:
        answers = client.read(["a", "b"])
    assert answers["a"] is answers["b"]
    assert "does not answer" in answers["a"].state
