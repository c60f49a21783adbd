"""TLS that takes up rotated files: certificate, key and the clients' authority."""

import ssl
from pathlib import Path
from typing import Any

from metrics_server.config import Config, ConfigError, Followed

__all__ = ["Rotating"]

# The most that one TLS record holds (RFC 8446, 5.1).
RECORD = 16 * 1024


class Rotating(ssl.SSLContext):
    """Hands each new connection to a context made of the newest good files; open ones are not touched.

    A context of its own per set of files, because an authority cannot be taken out of one, and a
    session of the old one must not be resumed. Raises ConfigError at construction.
    """

    def __new__(cls, *_: object) -> "Rotating":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._files = (certificate, key, client_ca)
        self._followed = [Followed(file) for file in self._files if file is not None]
        self._due = True
        self.reload()

    @classmethod
    def of(cls, config: Config) -> "Rotating | None":
        if config.certificate is None or config.key is None:
            return None
        return cls(config.certificate, config.key, config.client_ca)

    def reload(self) -> bool:
        """Return whether new files came into force; wrong ones are tried again. Raises ConfigError."""
        for each in self._followed:
            self._due = each.changed() is not None or self._due
        if not self._due:
            return False
        self._current = _context(*self._files)
        self._due = False
        return True

    def wrap_bio(self, *args: Any, **others: Any) -> ssl.SSLObject:
        """Called by the event loop once per connection."""
        return self._current.wrap_bio(*args, **others)


class _Frugal(ssl.SSLObject):
    """Reads no more than a record at a time.

    uvloop asks for 256 KiB, and ssl makes room for them: a mapping that is made, cut down and given back
    for each request. That was a fifth of what an answer cost.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - ssl's name for it
        return super().read(min(len, RECORD), buffer)


def _context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _Frugal
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # An answer to "which password", or OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{certificate} and {key}: no certificate with its own unencrypted key: {_why(error)};"
            f" see: openssl x509 -noout -subject -enddate -in {certificate}"
        ) from None
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"{client_ca}: no authority's certificate: {_why(error)};"
                f" see: openssl x509 -noout -subject -enddate -in {client_ca}"
            ) from None
    return context


def _why(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)
