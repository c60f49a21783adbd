import json
import re
import socket
from pathlib import Path

import pytest

from metrics_server import Config, ConfigError, Sampler, SaturationServer
from metrics_server.__main__ import main
from metrics_server.config import Followed, read_filters, read_tokens
from tests.certificates import certify

GIVEN = {
    "listen": {"host": "127.0.0.1", "port": 8443, "certificate": "tls.crt", "key": "tls.key"},
    "token_file": "tokens",
    "broker": {"nodes": ["http://127.0.0.1:15692/"], "vhost": "surge"},
    "sample_s": 2,
    "stale_s": 20,
    "windows_s": [15, 60, 300],
    "filters_file": "/etc/surge/filters.json",
}
TOKEN = "a-token-of-the-tests-0123456789"
MANAGED = {"management": ["https://x:15671/"], "credentials_file": "credentials", "vhost": "surge"}
FILTER = {"name": "a", "queue": "filter.a", "slots": 1, "service_s": 8, "drain_s": 60, "beta": 1.06}


def written(folder: Path, given: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(given))
    return file


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    config = Config.read(written(tmp_path, GIVEN))
    assert config.certificate == tmp_path / "tls.crt"
    assert config.token_file == tmp_path / "tokens"
    assert config.filters_file == Path("/etc/surge/filters.json")
    assert config.nodes == ("http://127.0.0.1:15692",)


def test_paths_outlive_a_change_of_what_kubernetes_has_mounted(tmp_path):
    """A mounted file is a link into a folder that goes away with the next change."""
    (tmp_path / "..2026_11_24").mkdir()
    written(tmp_path / "..2026_11_24", GIVEN)
    (tmp_path / "..data").symlink_to("..2026_11_24")
    (tmp_path / "config.json").symlink_to("..data/config.json")
    assert Config.read(tmp_path / "config.json").token_file == tmp_path / "tokens"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sample_s": 0}, "sample_s 0: want seconds"),
        ({"sample_s": True}, "sample_s True"),
        ({"stale_s": 3}, "stale_s 3 is less than two samples"),
        ({"windows_s": [60, 15, 300]}, "windows_s"),
        ({"windows_s": [15, 60]}, "windows_s: 2 lengths: want three or four"),
        ({"windows_s": [5, 15, 60, 300, 900]}, "windows_s: 5 lengths: want three or four"),
        ({"window_s": [5, 15, 60]}, "settings: there is no 'window_s'; there are listen, limits, "),
        ({"grace_s": -1}, "grace_s -1: want seconds, 0 or more"),
        ({"grace_s": float("inf")}, "grace_s inf"),
        ({"grace_s": "5"}, "grace_s '5'"),
        ({"grace_s": False}, "grace_s False"),
        ({"listen": {"host": "x", "port": 99_999}}, "listen.port 99999"),
        ({"listen": {"host": "x", "port": 1, "key": "k"}}, "certificate and key belong together"),
        ({"broker": {"nodes": [], "vhost": "surge"}}, "broker.nodes: want a list"),
        ({"broker": {"nodes": ["ftp://x"], "vhost": "surge"}}, "is no http or https URL"),
        ({"broker": {"nodes": ["http://x"], "vhost": 'a"b'}}, "broker.vhost"),
        ({"broker": {"nodes": ["http://me:secret@x"], "vhost": "surge"}}, "broker.nodes: 'x' is no http"),
        ({"broker": {"node": ["http://x"], "vhost": "surge"}}, "broker: there is no 'node'; there are"),
        (
            {"broker": {"nodes": ["http://x"], "vhost": "surge", "amqp": ["http://y"]}},
            "broker.amqp: 'http://y'",
        ),
        ({"broker": {**MANAGED, "amqp": ["amqp://x"], "events": 1}}, "broker.events 1: want true or false"),
        ({"broker": MANAGED | {"events": True}}, "broker.events needs broker.amqp"),
        ({"broker": {"source": "amqp", "vhost": "surge"}}, "broker.source 'amqp': want one of auto"),
        ({"broker": {"source": "management", "vhost": "surge"}}, "key 'management' is missing"),
        ({"broker": MANAGED | {"management": []}}, "broker.management: want a list"),
        ({"broker": {**MANAGED, "credentials_file": 3}}, "config.json"),
        ({"listen": None}, "config.json"),
        ({"listen": {"host": "x", "port": 1, "client_ca": "c"}}, "client_ca without certificate and key"),
        ({"listen": {"host": "x", "port": 1, "clientca": "c"}}, "listen: there is no 'clientca'; there are"),
        ({"limits": {"conections": 9}}, "limits: there is no 'conections'; there are connections, "),
        ({"limits": {"connections": 0}}, "limits.connections 0: want a whole number of at least 1"),
        (
            {"limits": {"request_bytes": 100}},
            "limits.request_bytes 100: want a whole number of at least 1024",
        ),
        ({"limits": {"refusals_per_s": "9"}}, "limits.refusals_per_s '9': want more than 0"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, change, problem):
    with pytest.raises(ConfigError, match=problem):
        Config.read(written(tmp_path, GIVEN | change))


@pytest.mark.parametrize("key", [key for key in GIVEN if key != "windows_s"])
def test_a_missing_setting_is_named(tmp_path, key):
    with pytest.raises(ConfigError, match=f"key '{key}' is missing"):
        Config.read(written(tmp_path, {name: value for name, value in GIVEN.items() if name != key}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"slots": 0}, "slots 0"),
        ({"slots": 1.5}, "slots 1.5"),
        ({"service_s": 0}, "service_s 0"),
        ({"service_s": 10**400}, "too large"),
        ({"drain_s": "60"}, "drain_s '60'"),
        ({"beta": -1}, "beta -1"),
        ({"queue": 'filter.a",x="'}, "queue"),
        ({"name": ""}, "name: 0 signs"),
        ({"name": "a/b"}, "name 'a/b': want no /"),
        ({"lead": 63}, "a filter: there is no 'lead'; there are name, queue, "),
        ({"lead_s": False}, "lead_s False"),
        ({"members": ["a"]}, "a filter: there is no 'members'"),
    ],
)
def test_a_wrong_filter_is_refused(change, problem):
    with pytest.raises(ConfigError, match=problem):
        read_filters(json.dumps({"filters": [FILTER | change]}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"filters": 3}',
        b'{"filters": [3]}',
        b'{"filters": [], "set": []}',
        b"[" * 100_000,
    ],
)
def test_a_filters_file_that_is_none_is_refused(content):
    with pytest.raises(ConfigError, match="filters_file"):
        read_filters(content)


@pytest.mark.parametrize(
    ("broker", "nodes", "management"),
    [
        ({"nodes": ["http://x"], "vhost": "surge"}, ("http://x",), ()),
        (MANAGED, (), ("https://x:15671",)),
        (MANAGED | {"source": "management", "nodes": ["http://x"]}, (), ("https://x:15671",)),
        (MANAGED | {"source": "metrics-detailed", "nodes": ["http://x"]}, ("http://x",), ()),
        (MANAGED | {"nodes": ["http://x"]}, ("http://x",), ("https://x:15671",)),
    ],
)
def test_a_broker_is_read_in_the_ways_that_its_settings_name(tmp_path, broker, nodes, management):
    config = Config.read(written(tmp_path, GIVEN | {"broker": broker}))
    assert (config.nodes, config.management) == (nodes, management)
    assert config.credentials_file == (tmp_path / "credentials" if management else None)


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_an_authority_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "ca.crt").write_text(content)
    config = Config.read(written(tmp_path, GIVEN | {"broker": GIVEN["broker"] | {"ca_file": "ca.crt"}}))
    with pytest.raises(ConfigError, match=r"ca\.crt: no certificates in PEM"):
        Sampler(config)


def test_two_filters_never_share_a_queue():
    with pytest.raises(ConfigError, match="share a name or a queue"):
        read_filters(json.dumps({"filters": [FILTER, FILTER | {"name": "b"}]}).encode())


def test_one_or_two_tokens_are_accepted():
    assert read_tokens(b"0123456789abcdef\n") == (b"0123456789abcdef",)
    assert len(read_tokens(b"0123456789abcdef\n\n fedcba9876543210 \n")) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"a" * 20 + b"\n" + b"b" * 20 + b"\n" + b"c" * 20])
def test_a_refused_token_is_never_repeated(content):
    with pytest.raises(ConfigError) as seen:
        read_tokens(content)
    assert "short" not in str(seen.value).replace("shorter", "")
    assert "aaa" not in str(seen.value)


def test_a_followed_file_tells_its_content_once_per_change(tmp_path):
    file = tmp_path / "filters.json"
    file.write_text("one")
    followed = Followed(file)
    assert [followed.changed(), followed.changed()] == [b"one", None]
    file.with_suffix(".new").write_text("two")
    file.with_suffix(".new").rename(file)
    assert [followed.changed(), followed.changed()] == [b"two", None]
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        followed.changed()


def test_a_server_with_a_wrong_file_says_so_and_ends_with_2(tmp_path, capsys):
    assert main(["--config", str(tmp_path / "none.json")]) == 2
    assert "none.json: cannot be read: No such file" in capsys.readouterr().err


def served(folder: Path, **changes: object) -> Path:
    """A server's files, all good; returns its settings with `changes`."""
    (folder / "filters.json").write_text(json.dumps({"filters": [FILTER]}))
    (folder / "tokens").write_text(TOKEN + "\n")
    certify(folder)
    return written(folder, GIVEN | {"filters_file": "filters.json"} | changes)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("tokens", None, "tokens: cannot be read: No such file"),
        ("tokens", f"{TOKEN}\n{TOKEN}1\n{TOKEN}2\n", "tokens"),
        ("tokens", TOKEN[:15], "tokens"),
        ("filters.json", None, "filters.json: cannot be read: No such file"),
        ("filters.json", f'{{"filters": [{{"name": "{TOKEN}"', "filters.json"),
        ("tls.crt", None, "tls.crt: cannot be read: No such file"),
        ("tls.crt", TOKEN, "tls.crt and .*tls.key: no certificate with its own unencrypted key"),
        ("tls.key", None, "tls.key: cannot be read: No such file"),
        ("tls.key", TOKEN, "see: openssl x509 -noout -subject -enddate -in .*tls.crt"),
        ("ca.crt", None, "ca.crt: cannot be read: No such file"),
        ("ca.crt", TOKEN, "ca.crt: no authority's certificate"),
    ],
)
def test_a_server_with_a_wrong_file_names_it_and_tells_no_secret(tmp_path, capsys, file, content, problem):
    listen = {
        "host": "127.0.0.1",
        "port": 1,
        "certificate": "tls.crt",
        "key": "tls.key",
        "client_ca": "ca.crt",
    }
    config = served(tmp_path, listen=listen)
    (tmp_path / "ca.crt").write_bytes((tmp_path / "tls.crt").read_bytes())
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    assert main(["--config", str(config)]) == 2
    said = capsys.readouterr()
    assert re.search(problem, said.err)
    assert TOKEN[:15] not in said.err + said.out
    assert "PRIVATE" not in said.err + said.out


def test_a_key_of_another_certificate_is_refused(tmp_path, capsys):
    config = served(tmp_path)
    certify(tmp_path, "other")
    (tmp_path / "other.key").rename(tmp_path / "tls.key")
    assert main(["--config", str(config)]) == 2
    assert "key values mismatch" in capsys.readouterr().err.lower().replace("_", " ")


def test_an_idle_connection_outlives_the_one_keda_keeps(tmp_path):
    settings = SaturationServer(Config.read(served(tmp_path))).uvicorn.config
    assert settings.timeout_keep_alive > 90
    assert settings.timeout_graceful_shutdown


def test_a_taken_port_is_named_with_the_command_that_shows_who_has_it(tmp_path, capsys):
    (tmp_path / "filters.json").write_text('{"filters": []}')
    (tmp_path / "tokens").write_text("0123456789abcdef")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = {"listen": {"host": "127.0.0.1", "port": port}, "filters_file": "filters.json"}
        assert main(["--config", str(written(tmp_path, GIVEN | listen))]) == 2
    said = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
    assert f"ss -ltnp 'sport = :{port}'" in said
