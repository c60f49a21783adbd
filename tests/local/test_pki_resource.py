"""surge:pki under the real engine: certificates that openssl's rules accept, keys that stay secret."""

import os
import tempfile
from pathlib import Path

import pulumi
import pytest
from cryptography import x509
from pulumi import automation

from providers.surge.resources import Authority, AuthorityArgs, Certificate, CertificateArgs

pytestmark = pytest.mark.local

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".tools"


@pytest.fixture
def stack(monkeypatch):
    monkeypatch.setenv("PATH", f"{ROOT / 'providers' / 'bin'}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory() as root:
        backend = f"file://{root}"
        options = automation.LocalWorkspaceOptions(
            pulumi_home=str(TOOLS / "pulumi-home"),
            pulumi_command=automation.PulumiCommand(root=str(TOOLS), skip_version_check=True),
            project_settings=automation.ProjectSettings(
                "pki", "python", backend=automation.ProjectBackend(backend)
            ),
            env_vars={
                "PULUMI_BACKEND_URL": backend,
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
            },
        )
        yield automation.create_or_select_stack("dev", "pki", lambda: None, opts=options)


def issues(names, **changes):
    def program():
        authority = Authority("ca", AuthorityArgs(common_name="test ca"))
        arguments = {
            "authority_certificate": authority.certificate,
            "authority_key": authority.private_key,
            "common_name": "server",
            "dns_names": names,
            "ip_addresses": ["127.0.0.1"],
            "usages": ["server"],
        }
        server = Certificate("server", CertificateArgs(**{**arguments, **changes}))
        pulumi.export("ca", authority.certificate)
        pulumi.export("certificate", server.certificate)
        pulumi.export("key", server.private_key)

    return program


def test_a_certificate_is_kept_until_an_input_changes_and_its_key_stays_secret(stack):
    stack.workspace.program = issues(["localhost"])
    assert stack.preview().change_summary == {"create": 3}
    first = stack.up().outputs
    assert first["key"].secret
    state = next(Path(stack.workspace.project_settings().backend.url[7:]).rglob("stacks/**/dev.json"))
    assert "PRIVATE KEY" not in state.read_text()
    assert stack.preview().change_summary == {"same": 3}
    assert stack.up().outputs["certificate"].value == first["certificate"].value
    stack.workspace.program = issues(["localhost", "other"])
    second = stack.up()
    assert second.summary.resource_changes == {"same": 2, "update": 1}
    names = x509.load_pem_x509_certificate(second.outputs["certificate"].value.encode())
    found = names.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["localhost", "other"]


def test_a_certificate_near_its_end_is_renewed(stack):
    stack.workspace.program = issues(["localhost"], validity_days=10, renew_before_days=5)
    first = stack.up().outputs["certificate"].value
    assert stack.up().summary.resource_changes == {"same": 3}
    stack.workspace.program = issues(["localhost"], validity_days=10, renew_before_days=20)
    stack.up()
    assert stack.preview().change_summary == {"same": 2, "update": 1}
    assert stack.up().outputs["certificate"].value != first
