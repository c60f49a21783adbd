"""Each built tool says the version that its go.mod pins. KEDA has no flag for it: see test_keda_contract."""

import os
import re
import subprocess

import pytest

from toolchain.build import MODULES, ROOT

pytestmark = pytest.mark.local

KUBERNETES = "k8s.io/kubernetes"


@pytest.mark.parametrize(
    ("tool", "asked", "pinned"),
    [
        ("actionlint", ["-version"], "github.com/rhysd/actionlint"),
        ("etcd", ["--version"], "go.etcd.io/etcd/server/v3"),
        ("etcdctl", ["version"], "go.etcd.io/etcd/etcdctl/v3"),
        ("kube-apiserver", ["--version"], KUBERNETES),
        ("kube-controller-manager", ["--version"], KUBERNETES),
        ("kube-scheduler", ["--version"], KUBERNETES),
        ("kubectl", ["version", "--client"], KUBERNETES),
        ("kwok", ["--version"], "sigs.k8s.io/kwok"),
        ("pulumi", ["version"], "github.com/pulumi/pulumi/pkg/v3"),
    ],
)
def test_a_tool_says_the_version_that_is_pinned(tmp_path, tool, asked, pinned):
    said = subprocess.run(
        [str(ROOT / ".tools" / "bin" / tool), *asked],
        env={**os.environ, "PULUMI_HOME": str(tmp_path), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert _pin(tool, pinned) in re.findall(r"\d+\.\d+\.\d+", said)


def _pin(tool: str, pinned: str) -> str:
    [module] = [module.name for module in MODULES if tool in {built.name for built in module.tools}]
    text = (ROOT / "toolchain" / module / "go.mod").read_text()
    [version] = re.findall(rf"^\t{re.escape(pinned)} v(\S+)", text, re.MULTILINE)
    return version
