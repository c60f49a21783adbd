"""The bundled random plugin: over gRPC, and under the real engine."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from surge.engine import create_stack, engine_environment, stack_environment
from toolchain.engine.kubernetes.wire import UNKNOWN, Secret, decode, encode
from toolchain.engine.random import RandomProvider
from toolchain.engine.random_kinds import bcrypt

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.local
Stub = provider_pb2_grpc.ResourceProviderStub
PASSWORD = "urn:pulumi:dev::tiny::random:index/randomPassword:RandomPassword::pw"
ID = "urn:pulumi:dev::tiny::random:index/randomId:RandomId::id"
BYTES = "urn:pulumi:dev::tiny::random:index/randomBytes:RandomBytes::b"


@pytest.fixture(scope="module")
def plugin() -> Iterator[Stub]:
    server = grpc.server(ThreadPoolExecutor(2))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(RandomProvider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Stub(channel)
    server.stop(None).wait()


def create(plugin: Stub, urn: str, inputs: dict[str, Any], *, preview: bool = False) -> dict[str, Any]:
    request = provider_pb2.CreateRequest(urn=urn, properties=encode(inputs), preview=preview)
    return decode(plugin.Create(request).properties)


def test_a_password_has_its_length_and_minimums_and_is_secret(plugin: Stub) -> None:
    least = {"minUpper": 3, "minNumeric": 2, "minSpecial": 1, "overrideSpecial": "~"}
    made = create(plugin, PASSWORD, {"length": 12, "lower": False, **least})
    assert isinstance(made["result"], Secret)
    text = made["result"].value
    assert len(text) == 12
    assert sum(c.isupper() for c in text) >= 3
    assert sum(c.isdigit() for c in text) >= 2
    assert "~" in text
    assert not any(c.islower() for c in text)
    assert made["bcryptHash"].value.startswith("$2a$10$")


def test_hashes_of_one_password_differ(plugin: Stub) -> None:
    assert bcrypt("sesame") != bcrypt("sesame")
    assert len(bcrypt("sesame")) == 60


def test_a_preview_knows_no_result(plugin: Stub) -> None:
    made = create(plugin, PASSWORD, {"length": 12}, preview=True)
    assert getattr(made["result"], "value", made["result"]) is UNKNOWN


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        ({"length": 8}, {"length": 9}, ["length"]),
        ({"length": 8, "keepers": {"a": "1"}}, {"length": 8, "keepers": {"a": "2"}}, ["keepers"]),
        ({"length": 8}, {"length": 8, "special": True}, []),
        ({"length": 8}, {"length": 8, "keepers": {"a": UNKNOWN}}, ["keepers"]),
        ({"length": 8, "number": False}, {"length": 8, "numeric": False}, []),
    ],
)
def test_only_a_real_change_replaces(plugin: Stub, old: Any, new: Any, replaces: list[str]) -> None:
    request = provider_pb2.DiffRequest(urn=PASSWORD, id="none", old_inputs=encode(old), news=encode(new))
    assert list(plugin.Diff(request).replaces) == replaces


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "required"),
        ({"length": 0}, "from 1 on"),
        ({"length": 2, "minUpper": 3}, "minimums"),
        ({"length": 8, "lenght": 1}, "did you mean length"),
    ],
)
def test_wrong_inputs_are_told(plugin: Stub, inputs: Any, said: str) -> None:
    answer = plugin.Check(provider_pb2.CheckRequest(urn=PASSWORD, news=encode(inputs)))
    assert said in " ".join(failure.reason for failure in answer.failures)


def test_an_identifier_is_imported_with_its_prefix(plugin: Stub) -> None:
    read = plugin.Read(provider_pb2.ReadRequest(urn=ID, id="web-,qL8"))
    state = decode(read.properties)
    assert (state["hex"], state["byteLength"], state["prefix"]) == ("web-a8bf", 2, "web-")


def test_bytes_that_are_no_base64_cannot_be_imported(plugin: Stub) -> None:
    with pytest.raises(grpc.RpcError, match="not base64"):
        plugin.Read(provider_pb2.ReadRequest(urn=BYTES, id="?!"))


def test_under_the_engine_keepers_replace_and_the_state_hides_the_password(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    own = {"PULUMI_BACKEND_URL": f"file://{tmp_path}/backend", "PULUMI_CONFIG_PASSPHRASE": "test"}
    own["PULUMI_HOME"] = str(tmp_path / "home")
    runtime = {"name": "python", "options": {"virtualenv": str(ROOT / ".tools/venv")}}
    (tmp_path / "Pulumi.yaml").write_text(json.dumps({"name": "tiny", "runtime": runtime}))
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {tiny:k: a}\n")
    (tmp_path / "__main__.py").write_text(
        "import pulumi, pulumi_random as r\nk = pulumi.Config().require('k')\n"
        "pulumi.export('pw', r.RandomPassword('pw', length=24, keepers={'k': k}).result)\n"
    )
    env = {**engine_environment(ROOT, "bundled", {**os.environ, **own}), **own}
    create_stack(tmp_path, "dev", env)

    def run(*arguments: str) -> str:
        command = ["pulumi", "--non-interactive", *arguments, "--stack", "dev"]
        current = stack_environment(tmp_path, "dev", env)
        result = subprocess.run(
            command, cwd=tmp_path, env=current, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def password() -> str:
        run("up", "--yes", "--skip-preview")
        return json.loads(run("stack", "output", "--json", "--show-secrets"))["pw"]

    first = password()
    assert first not in (tmp_path / "backend/.pulumi/stacks/tiny/dev.json").read_text()
    assert password() == first
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {tiny:k: b}\n")
    assert password() != first
    token = "random:index/randomPassword:RandomPassword"
    run("import", token, "kept", "hunter22", "--yes", "--protect=false", "--generate-code=false")
    run("refresh", "--yes")
    run("destroy", "--yes")
