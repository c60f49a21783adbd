"""Certificates: chains verify, usages and names are as asked, renewal comes in time."""

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from providers.surge import pki

CA = pki.authority("ca", validity_days=100)


def issue(**changes):
    arguments = {
        "authority_certificate": CA.certificate,
        "authority_key": CA.private_key,
        "usages": ["server"],
        "validity_days": 10,
        "dns_names": ["localhost"],
        "ip_addresses": ["127.0.0.1"],
    }
    return pki.certificate("server", **{**arguments, **changes})


def load(issued):
    return x509.load_pem_x509_certificate(issued.certificate.encode())


def test_a_server_certificate_verifies_for_its_name_and_address_only():
    policy = PolicyBuilder().store(Store([load(CA)]))
    server = load(issue())
    policy.build_server_verifier(x509.DNSName("localhost")).verify(server, [])
    policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address("127.0.0.1"))).verify(server, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("elsewhere")).verify(server, [])


def test_a_client_certificate_carries_its_groups_and_is_no_server():
    client = load(issue(usages=["client"], organizations=["system:masters"]))
    assert client.subject.rfc4514_string() == "CN=server,O=system:masters"
    with pytest.raises(VerificationError):
        PolicyBuilder().store(Store([load(CA)])).build_server_verifier(x509.DNSName("localhost")).verify(
            client, []
        )


def test_a_certificate_does_not_outlive_its_authority():
    assert issue(validity_days=1000).not_after == CA.not_after


def test_a_key_of_another_authority_is_refused():
    other = pki.authority("other", validity_days=1)
    with pytest.raises(ValueError, match="does not belong"):
        issue(authority_key=other.private_key)


def test_an_authority_says_how_many_may_be_below_it():
    constraints = load(pki.authority("ca", validity_days=1, path_length=2)).extensions
    assert constraints.get_extension_for_class(x509.BasicConstraints).value.path_length == 2


def test_rsa_keys_are_made_on_request():
    key = load_pem_private_key(issue(key_algorithm="rsa-2048").private_key.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)


@pytest.mark.parametrize(("left_days", "due"), [(29, True), (31, False)])
def test_renewal_is_due_when_less_than_the_margin_remains(left_days, due):
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    end = now + datetime.timedelta(days=left_days)
    assert pki.is_due(end.isoformat(), 30, now) is due
