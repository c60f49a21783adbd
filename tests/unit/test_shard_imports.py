"""What a shard's program loads before it declares its first service."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOADED = "import components.shard, sys; print(*sys.modules)"


def test_a_shard_loads_of_kubernetes_what_a_service_is_made_of():
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    parts = {f"pulumi_kubernetes.{name}.v1._inputs" for name in ("core", "apps", "networking", "policy")}
    assert parts & loaded == {"pulumi_kubernetes.core.v1._inputs", "pulumi_kubernetes.apps.v1._inputs"}
