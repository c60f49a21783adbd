"""The contract as data, what AMQP frames mean to it, and the command around it; no broker needed."""

import asyncio
import json
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import quote

import pika
import pika.frame
import pytest
from pika import spec
from typer.testing import CliRunner

import surge.cli.worker_check
from surge.cli.app import app
from surge.contract import CLAUSES, Options, ScratchError, Subject, Verdict
from surge.contract.relay import Relay
from surge.contract.stage import Stage
from surge.contract.subject import container_engine
from surge.contract.wire import Event, Frames, deliveries, event_of, strays
from tests.certificates import certify

ROOT = Path(__file__).parents[2]
RUN = CliRunner()


def events(*kinds: tuple[str, int, Any]) -> list[Event]:
    return [Event(at, kind, 1, 1, tag, value) for at, (kind, tag, value) in enumerate(kinds)]


def test_frames_are_cut_out_of_any_blocks_of_bytes():
    sent = [
        pika.frame.ProtocolHeader(0, 9, 1).marshal(),
        pika.frame.Method(1, spec.Basic.Qos(0, 2, False)).marshal(),
        pika.frame.Heartbeat().marshal(),
        pika.frame.Method(1, spec.Basic.Ack(7, True)).marshal(),
    ]
    stream, frames = b"".join(sent), Frames()
    seen = [cut for index in range(len(stream)) for cut in frames.feed(stream[index : index + 1])]
    assert [raw for _, raw in seen] == sent
    told = [event for frame, _ in seen if (event := event_of(frame, 0.0, 3)) is not None]
    assert told == [Event(0.0, "qos", 3, 1, 0, 2), Event(0.0, "ack", 3, 1, 7, True)]


def test_an_ack_answers_what_its_channel_holds_and_multiple_all_up_to_its_tag():
    history = events(("deliver", 1, False), ("deliver", 2, False), ("deliver", 3, False), ("ack", 2, True))
    assert [one.answer for one in deliveries(history)] == ["ack", "ack", ""]
    assert not strays(history)


def test_a_second_answer_and_one_from_another_connection_are_strays():
    history = events(("deliver", 1, False), ("ack", 1, False), ("reject", 1, False))
    elsewhere = Event(9, "ack", 2, 1, 1, False)
    assert strays([*history, elsewhere]) == [history[2], elsewhere]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "it opened no connection to the broker of SURGE_AMQP_URL_FILE"),
        (["open-ok"], "it connected, and has no consumer"),
        (["open-ok", "consume-ok"], "it connected, and consumes"),
    ],
)
def test_what_a_worker_did_instead_is_said_as_the_relay_saw_it(kinds, said):
    relay = SimpleNamespace(events=events(*((kind, 0, None) for kind in kinds)))
    parts: Any = (None, relay, SimpleNamespace(over=False))
    stage = Stage(Options(url="amqp://"), *parts)
    assert stage.why_not() == said


def test_the_page_shows_the_ten_clauses_as_the_check_knows_them():
    page = (ROOT / "docs" / "bring-your-own-worker.md").read_text()
    assert [clause.number for clause in CLAUSES] == list(range(1, 11))
    for clause in CLAUSES:
        assert f"{clause.number}. {clause.text}\n" in page


def test_a_container_runs_on_this_machines_network_with_its_environment_and_its_url(tmp_path):
    line = Subject(["image@sha256:1", "--fast"], "docker").line(
        {"SURGE_SLOTS": "2"}, tmp_path / "broker" / "url"
    )
    assert line[:4] == ["docker", "run", "--rm", "--network=host"]
    assert line[-2:] == ["image@sha256:1", "--fast"]
    assert f"{tmp_path / 'broker'}:/etc/surge/broker:ro" in line
    assert {"SURGE_SLOTS=2", "SURGE_AMQP_URL_FILE=/etc/surge/broker/url"} < set(line)


def test_the_relay_leads_a_plain_client_to_a_broker_that_speaks_tls(tmp_path):
    certify(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    goodbye = pika.frame.Method(0, spec.Connection.Close(320, "enough", 0, 0)).marshal()

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == pika.frame.ProtocolHeader().marshal()
        writer.write(goodbye)
        await writer.drain()
        writer.close()

    async def scene() -> list[Event]:
        async with await asyncio.start_server(broker, "127.0.0.1", 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            trust = quote(repr({"cafile": str(tmp_path / "tls.crt")}))
            async with Relay(f"amqps://a:b@127.0.0.1:{port}/surge?ssl_options={trust}") as relay:
                parts = pika.URLParameters(relay.url)
                assert (parts.ssl_options, parts.virtual_host, parts.credentials.username) == (
                    None,
                    "surge",
                    "a",
                )
                reader, writer = await asyncio.open_connection(parts.host, parts.port)
                writer.write(pika.frame.ProtocolHeader().marshal())
                assert await asyncio.wait_for(reader.read(), 30) == goodbye
                writer.close()
                return relay.events

    assert [(event.kind, event.value) for event in asyncio.run(scene())][:1] == [("close", "320 enough")]


def test_without_a_url_the_broker_is_that_of_the_running_stack(monkeypatch):
    class Running:
        access: ClassVar = {"admin_password": "p/w"}
        endpoints: ClassVar = {"amqp": "127.0.0.1:5672"}

    asked: list[Options] = []

    async def check(_subject: Subject, options: Options, _clauses: object) -> list[Verdict]:
        asked.append(options)
        return []

    monkeypatch.setattr(surge.cli.worker_check, "find", lambda _root, name: {"local": Running}[name])
    monkeypatch.setattr(surge.cli.worker_check, "check", check)
    assert RUN.invoke(app, ["worker", "check", "--slots", "3", "--", "true"]).exit_code == 0
    assert (asked[0].url, asked[0].slots) == ("amqp://admin:p%2Fw@127.0.0.1:5672/surge", 3)


@pytest.fixture
def url_file(tmp_path) -> str:
    path = tmp_path / "url"
    path.write_text("amqp://admin:secret@127.0.0.1:1/surge\n")
    return str(path)


def said(monkeypatch, answer: object, *arguments: str) -> tuple[int, str]:
    async def check(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(surge.cli.worker_check, "check", check)
    done = RUN.invoke(app, ["worker", "check", *arguments, "--", "true"])
    return done.exit_code, done.stdout or done.output


def test_a_broken_clause_is_told_with_what_was_seen_and_how_to_mend_it(monkeypatch, url_file):
    verdicts = [Verdict(4, "kept", "prefetch 2"), Verdict(5, "broken", "acks came at once [1]")]
    code, text = said(monkeypatch, verdicts, "--amqp-url-file", url_file)
    assert code == 1
    assert " 4  kept         Its prefetch is its slots.\n" in text
    assert "seen: acks came at once [1]\n" in text
    assert f"mend: {CLAUSES[4].mend}\n" in text
    assert "1 kept, 1 broken\n" in text


def test_what_was_not_checked_breaks_nothing_and_json_tells_all(monkeypatch, url_file):
    code, text = said(
        monkeypatch, [Verdict(5, "not checked", "say --job-s")], "--json", "--amqp-url-file", url_file
    )
    told = json.loads(text)
    assert (code, told["kept"]) == (0, True)
    assert told["clauses"] == [
        {
            "number": 5,
            "text": CLAUSES[4].text,
            "checked": CLAUSES[4].checked,
            "state": "not checked",
            "seen": "say --job-s",
            "mend": None,
        }
    ]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ScratchError("the broker at b:5672 does not serve"), "want a user with all rights on its vhost"),
        (FileNotFoundError(2, "No such file or directory"), "true cannot be started: No such file"),
    ],
)
def test_what_stops_the_check_is_told_in_words(monkeypatch, url_file, answer, told):
    code, text = said(monkeypatch, answer, "--amqp-url-file", url_file)
    assert code == 1
    assert told in text


def test_an_image_is_refused_in_words_where_no_engine_answers(monkeypatch, url_file):
    monkeypatch.setattr(surge.cli.worker_check, "container_engine", lambda: None)
    done = RUN.invoke(app, ["worker", "check", "--amqp-url-file", url_file, "--image", "worker@sha256:1"])
    assert done.exit_code == 1
    assert "no docker or podman answers here" in done.output


def test_without_a_command_or_with_a_file_that_holds_no_url_nothing_starts(url_file, tmp_path):
    done = RUN.invoke(app, ["worker", "check", "--amqp-url-file", url_file])
    assert (done.exit_code, "nothing to check" in done.output) == (1, True)
    done = RUN.invoke(app, ["worker", "check", "--amqp-url-file", "/dev/null", "--", "true"])
    assert (done.exit_code, "holds no amqp:// or amqps:// URL" in done.output) == (1, True)


@pytest.mark.parametrize(("code", "found"), [(0, True), (1, False)], ids=["running", "stopped"])
def test_an_engine_counts_only_when_its_daemon_answers(monkeypatch, tmp_path, code, found):
    engine = tmp_path / "podman"
    engine.write_text(f"#!/bin/sh\nexit {code}\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert container_engine() == (str(engine) if found else None)


def test_a_job_that_outlasts_the_grace_is_refused_with_the_grace_it_needs(url_file):
    done = RUN.invoke(app, ["worker", "check", "--amqp-url-file", url_file, "--job-s", "45.5", "--", "true"])
    assert (done.exit_code, "Give more: --grace-s 76" in done.output) == (1, True)
