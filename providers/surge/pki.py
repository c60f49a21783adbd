"""Certificates: pure functions from a request to PEM, and the question when one must be renewed."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ALGORITHMS", "USAGES", "Issued", "authority", "certificate", "is_due"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ALGORITHMS = ("ecdsa-p256", "rsa-2048")
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}

# Clocks of two machines differ; a certificate that is not valid yet is refused by the peer.
BACKDATED = datetime.timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Issued:
    """certificate, private_key: PEM. not_after: ISO 8601, UTC."""

    certificate: str
    private_key: str
    not_after: str


def authority(
    common_name: str,
    *,
    validity_days: int,
    organizations: Sequence[str] = (),
    path_length: int = 0,
    key_algorithm: str = "ecdsa-p256",
    now: datetime.datetime | None = None,
) -> Issued:
    """A self-signed authority that may have `path_length` authorities below it."""
    key = _key(key_algorithm)
    name = _name(common_name, organizations)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key, validity_days=validity_days, now=now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    return _issued(builder.sign(key, hashes.SHA256()), key)


def certificate(
    common_name: str,
    *,
    authority_certificate: str,
    authority_key: str,
    usages: Sequence[str],
    validity_days: int,
    organizations: Sequence[str] = (),
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[str] = (),
    key_algorithm: str = "ecdsa-p256",
    now: datetime.datetime | None = None,
) -> Issued:
    """A certificate signed by the authority; it does not outlive the authority.

    Raises ValueError when the authority's PEM is no certificate or no key, or they do not belong together.
    """
    issuer, issuer_key = _load(authority_certificate, authority_key)
    key = _key(key_algorithm)
    builder = _builder(
        _name(common_name, organizations),
        issuer.subject,
        key,
        validity_days=validity_days,
        now=now,
        authority=issuer,
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in usages]), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
    )
    names = [
        *(x509.DNSName(name) for name in dns_names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses),
    ]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _issued(builder.sign(issuer_key, hashes.SHA256()), key)


def is_due(not_after: str, renew_before_days: int, now: datetime.datetime | None = None) -> bool:
    """Whether less than `renew_before_days` of validity remain."""
    remaining = datetime.datetime.fromisoformat(not_after) - (now or datetime.datetime.now(datetime.UTC))
    return remaining < datetime.timedelta(days=renew_before_days)


def _key(algorithm: str) -> PrivateKey:
    if algorithm == "rsa-2048":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    *,
    validity_days: int,
    now: datetime.datetime | None,
    authority: x509.Certificate | None = None,
) -> x509.CertificateBuilder:
    start = now or datetime.datetime.now(datetime.UTC)
    end = start + datetime.timedelta(days=validity_days)
    if authority is not None:
        end = min(end, authority.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _load(certificate_pem: str, key_pem: str) -> tuple[x509.Certificate, PrivateKey]:
    issuer = x509.load_pem_x509_certificate(certificate_pem.encode())
    key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"authority_key is a {type(key).__name__}; it must be an ECDSA or RSA key")  # noqa: TRY004
    if key.public_key() != issuer.public_key():
        raise ValueError("authority_key does not belong to authority_certificate: nobody would trust it")
    return issuer, key


def _issued(signed: x509.Certificate, key: PrivateKey) -> Issued:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Issued(
        certificate=signed.public_bytes(serialization.Encoding.PEM).decode(),
        private_key=pem.decode(),
        not_after=signed.not_valid_after_utc.isoformat(),
    )
