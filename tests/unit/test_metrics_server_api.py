"""The endpoints over a sampler that is fed by hand; no broker, no socket."""

import asyncio
import json
from pathlib import Path

import pytest

from metrics_server import Config, FilterSpec, Sampler, build_app
from metrics_server.sources.metrics_detailed import Parser

NODE = "http://127.0.0.1:1"
PARSE = Parser("surge")
TOKENS = (b"old-token-0123456789", b"new-token-0123456789")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Life:
    tokens = TOKENS
    draining = False
    sampling = True


class Server:
    """One server; `get` is an HTTP request to it."""

    def __init__(self, nodes: tuple[str, ...] = (NODE,)) -> None:
        self.clock, self.life = Clock(), Life()
        unused = Path("unused")
        config = Config("127.0.0.1", 0, None, None, unused, nodes, "surge", 2, 20, (15, 60, 300), unused)
        self.sampler = Sampler(config, self.clock)
        self.use("a", "b")
        self.app = build_app(self.sampler, self.life)

    def use(self, *names: str) -> None:
        self.sampler.use({name: FilterSpec(name, f"filter.{name}", 1, 8, 60, 1.06) for name in names})

    def fed(self, node: int = 0, /, **counts: tuple[int, int, int]) -> None:
        """Feed (ready, unacked, consumers) of filters, as one answer of a node."""
        lines = [
            f'rabbitmq_detailed_queue_{kind}{{vhost="surge",queue="filter.{name}"}} {number}\n'
            for name, numbers in counts.items()
            for kind, number in zip(("messages_ready", "messages_unacked", "consumers"), numbers, strict=True)
        ]
        state = self.sampler.nodes[node]
        state.reachable = True
        self.sampler.fold(state, PARSE("".join(lines).encode()), started=self.clock.now, unix=1.8e9)

    def get(
        self, path: str, token: bytes | None = TOKENS[0], *, method: str = "GET", **headers: str
    ) -> tuple[int, dict, bytes]:
        sent: list[dict] = []
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if token is not None:
            given.append((b"authorization", b"Bearer " + token))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": given,
        }

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        headers_seen = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers_seen, b"".join(each.get("body", b"") for each in sent[1:])

    def json(self, path: str) -> dict:
        status, _, body = self.get(path)
        assert status == 200, body
        return json.loads(body)


@pytest.fixture
def server() -> Server:
    return Server()


def test_a_filter_is_one_flat_object_of_plain_numbers(server):
    server.fed(a=(4, 7, 10), b=(0, 0, 0))
    server.clock.now += 1.5
    assert server.json("/v1/filters/a") == {
        "filter": "a",
        "active_ratio": 0.7,
        "active_ratio_raw": 0.7,
        "desired_workers": 10,
        "offered_load": 7,
        "unacked": 7,
        "consumers": 10,
        "ready": 4,
        "sampled_at": 1.8e9,
        "source": "metrics-detailed",
        "window_s": 0,
        "settled": False,
        "age_s": 1.5,
    }


def test_a_filter_is_explained_under_the_same_conditions_as_it_is_served(server):
    assert server.get("/v1/filters/a/explain")[0] == 503
    server.fed(a=(4, 7, 10), b=(0, 0, 0))
    told, flat = server.json("/v1/filters/a/explain"), server.json("/v1/filters/a")
    assert told["desired_workers"] == flat["desired_workers"] == 10
    assert told["inputs"]["unacked"] == 7
    assert told["read"] == {"source": "metrics-detailed", "node": NODE, "age_s": 0, "stale_s": 20}
    assert server.get("/v1/filters/c/explain")[0] == 404
    assert server.get("/v1/filters/a/explain", None)[0] == 401
    server.clock.now += 20.1
    assert server.get("/v1/filters/a/explain")[0] == 503


def test_before_the_first_read_every_filter_is_503_and_the_server_unready(server):
    assert server.get("/v1/filters/a")[0] == 503
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200


def test_a_stale_filter_is_503_and_the_others_are_not(server):
    server.fed(a=(0, 1, 1), b=(0, 1, 1))
    server.clock.now += 20.1
    assert server.get("/v1/filters/a")[0] == server.get("/readyz")[0] == 503
    server.fed(b=(0, 1, 1))
    assert server.get("/v1/filters/a")[0] == 503
    assert server.get("/v1/filters/b")[0] == 200


def test_a_row_that_is_missing_is_503_at_once_never_zero(server):
    server.fed(a=(0, 1, 1), b=(0, 1, 1))
    server.clock.now += 2
    server.fed(b=(0, 1, 1))
    assert server.get("/v1/filters/a")[0] == 503
    assert server.get("/v1/filters/b")[0] == 200


@pytest.mark.parametrize("name", ["c", "A", "%00", "a b", "../a", "x" * 3_000])
def test_a_filter_that_is_not_in_the_catalogue_is_404(server, name):
    assert server.get(f"/v1/filters/{name}")[0] == 404


@pytest.mark.parametrize("path", ["/v1/filters/a", "/v1/filters/unknown", "/v1/filters"])
def test_without_a_token_nothing_is_told(server, path):
    server.fed(a=(0, 1, 1))
    for token in (None, b"", b"wrong-token-01234567", TOKENS[0][:-1], TOKENS[0] + b"x", "ü".encode()):
        status, headers, body = server.get(path, token)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert b"unacked" not in body


def test_both_tokens_are_accepted_while_one_replaces_the_other(server):
    server.fed(a=(0, 1, 1))
    assert [server.get("/v1/filters/a", token)[0] for token in TOKENS] == [200, 200]


def test_another_scheme_with_the_right_token_is_refused(server):
    server.fed(a=(0, 1, 1))
    basic = "Basic " + TOKENS[0].decode()
    assert server.get("/v1/filters/a", None, authorization=basic)[0] == 401


def test_wrong_tokens_are_429_once_they_are_too_many_and_the_right_one_never_is(server):
    server.fed(a=(0, 1, 1))
    seen = [server.get("/v1/filters/a", b"wrong-token-01234567")[0] for _ in range(21)]
    assert seen == [401] * 20 + [429]
    assert server.get("/v1/filters/a", None)[1]["retry-after"] == "1"
    assert server.get("/v1/filters/a")[0] == 200
    server.clock.now += 1
    assert server.get("/v1/filters/a", None)[0] == 401


@pytest.mark.parametrize(
    "path", ["/v1/filters/a", "/v1/filters/a/explain", "/v1/filters", "/metrics", "/readyz"]
)
def test_head_is_as_get_and_every_other_method_is_refused(server, path):
    server.fed(a=(0, 1, 1))
    assert server.get(path, method="HEAD")[0] == 200
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        status, headers, body = server.get(path, method=method)
        assert status == 405
        assert set(headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert json.loads(body) == {"error": "Method Not Allowed"}


@pytest.mark.parametrize("headers", [{"content_length": "5"}, {"transfer_encoding": "chunked"}])
def test_a_body_is_refused_and_the_connection_with_it(server, headers):
    status, seen, _ = server.get("/v1/filters/a", **headers)
    assert (status, seen["connection"]) == (413, "close")


def test_a_path_longer_than_any_name_is_refused(server):
    assert server.get("/v1/filters/" + "x" * 5_000)[0] == 414


def test_a_path_that_is_none_of_ours_is_404(server):
    assert [server.get(path)[0] for path in ("/", "/v1/", "/v1/filters/a/b/c", "/favicon.ico")] == [404] * 4


def test_the_batch_has_the_fresh_filters_and_a_tag_that_changes_with_each_sample(server):
    server.fed(a=(0, 1, 1), b=(0, 0, 2))
    status, headers, body = server.get("/v1/filters")
    assert [each["filter"] for each in json.loads(body)["filters"]] == ["a", "b"]
    assert server.get("/v1/filters", if_none_match=headers["etag"])[0] == 304
    server.fed(a=(0, 1, 1), b=(0, 0, 2))
    assert server.get("/v1/filters", if_none_match=headers["etag"])[0] == status == 200


def test_a_batch_whose_filters_have_gone_stale_is_not_the_one_that_was_read_before(server):
    server.fed(a=(0, 1, 1), b=(0, 0, 2))
    tag = server.get("/v1/filters")[1]["etag"]
    server.clock.now += 30
    status, _, body = server.get("/v1/filters", if_none_match=tag)
    assert (status, json.loads(body)) == (200, {"filters": []})


def test_prometheus_reads_without_a_token_and_sees_fresh_filters_only(server):
    server.fed(a=(4, 7, 10), b=(0, 0, 0))
    text = server.get("/metrics", None)[2].decode()
    for line in (
        'surge_saturation_active_ratio{filter="a"} 0.7',
        'surge_saturation_desired_workers{filter="a"} 10.0',
        'surge_saturation_sample_age_seconds{filter="a"} 0.0',
        "surge_saturation_unknown_filters 0.0",
    ):
        assert line in text.splitlines()
    server.clock.now += 30
    text = server.get("/metrics", None)[2].decode()
    assert "surge_saturation_active_ratio{" not in text
    assert 'surge_saturation_sample_age_seconds{filter="a"} 30.0' in text.splitlines()
    assert "surge_saturation_unknown_filters 2.0" in text.splitlines()


def test_answers_are_counted_by_status_for_those_that_ask_for_filters(server):
    server.fed(a=(0, 1, 1))
    for path in ("/v1/filters/a", "/v1/filters", "/v1/filters/b", "/v1/filters/none", "/healthz"):
        server.get(path)
    server.get("/v1/filters/a", None)
    lines = server.get("/metrics", None)[2].decode().splitlines()
    counted = [line for line in lines if line.startswith("surge_saturation_answers_total{")]
    assert counted == [
        f'surge_saturation_answers_total{{status="{status}"}} {count}.0'
        for status, count in ((200, 2), (401, 1), (404, 1), (429, 0), (503, 1))
    ]


def test_a_filter_that_has_not_settled_is_told_apart_from_one_that_has(server):
    for _ in range(160):
        server.fed(a=(0, 1, 1))
        server.clock.now += 2
    server.fed(a=(0, 1, 1), b=(0, 1, 1))
    lines = server.get("/metrics", None)[2].decode().splitlines()
    assert 'surge_saturation_settled{filter="a"} 1.0' in lines
    assert 'surge_saturation_settled{filter="b"} 0.0' in lines
    assert any(line.startswith("surge_saturation_start_time_seconds 1") for line in lines)


def test_a_removed_filter_vanishes_everywhere_and_a_kept_one_keeps_its_history(server):
    for _ in range(3):
        server.fed(a=(0, 1, 1), b=(0, 1, 1))
        server.clock.now += 2
    server.use("b", "c")
    assert server.get("/v1/filters/a")[0] == 404
    assert 'filter="a"' not in server.get("/metrics", None)[2].decode()
    assert server.get("/v1/filters/c")[0] == 503
    server.fed(b=(0, 1, 1), c=(0, 1, 1))
    assert server.json("/v1/filters/b")["window_s"] == 6
    assert server.json("/v1/filters/c")["window_s"] == 0


def test_a_draining_server_is_unready_and_still_answers(server):
    server.fed(a=(0, 1, 1))
    assert server.get("/readyz")[0] == 200
    server.life.draining = True
    assert server.get("/readyz")[0] == 503
    status, headers, _ = server.get("/v1/filters/a")
    assert (status, headers["connection"]) == (200, "close")


def test_a_dead_sampler_is_unhealthy(server):
    server.life.sampling = False
    assert server.get("/healthz")[0] == 503


def test_after_a_leader_moved_the_node_with_the_moving_numbers_is_believed():
    server = Server(nodes=(NODE, "http://127.0.0.2:1"))
    server.fed(0, a=(0, 5, 9))
    server.clock.now += 2
    server.fed(0, a=(0, 6, 9))
    server.clock.now += 2
    server.fed(1, a=(0, 2, 9))
    assert server.json("/v1/filters/a")["unacked"] == 6
    server.clock.now += 2
    server.fed(1, a=(0, 3, 9))
    server.fed(0, a=(0, 6, 9))
    assert server.json("/v1/filters/a")["unacked"] == 3
