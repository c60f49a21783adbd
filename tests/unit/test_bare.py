"""What a plugin imports before it can answer the engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.engine.bare import bare

ROOT = Path(__file__).resolve().parents[2]
LOADED = """
import runpy, sys
from toolchain.engine import plugin
sys.argv = ["plugin", "127.0.0.1:1"]
plugin.serve = lambda *_, **__: print(*sys.modules)
runpy.run_module("toolchain.engine.kubernetes", run_name="__main__")
"""


def test_the_kubernetes_plugin_loads_the_protocol_without_the_sdk_and_the_client_without_its_extras():
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"pulumi.runtime.proto.provider_pb2", "kubernetes.client.api_client"} <= loaded
    assert not {"pulumi.automation", "pulumi.resource", "kubernetes.dynamic", "kubernetes.watch"} & loaded


def test_what_is_imported_already_stays():
    bare("json")
    assert sys.modules["json"].dumps([1]) == "[1]"


def test_a_package_that_is_not_installed_is_said():
    with pytest.raises(ModuleNotFoundError, match="'no_such_package'"):
        bare("no_such_package")
