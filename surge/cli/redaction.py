"""Secrets never reach a terminal or a log, whatever a message quotes."""

import re

__all__ = ["redacted"]

HIDDEN = "[secret]"

_RULES = (
    # amqp://worker:password@host and the like
    (re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    (
        re.compile(
            r"\b((?:[a-z]+[_-])*(?:password|passphrase|token|secret)[\"']?\s*[:=]\s*)[\"']?[^\s\"',;}]+[\"']?",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b((?:client-key|key)-data:\s*)\S+", re.IGNORECASE), rf"\1{HIDDEN}"),
)


def redacted(text: str) -> str:
    """Return `text` with URL passwords, bearer tokens, private keys and named secrets replaced."""
    for pattern, shown in _RULES:
        text = pattern.sub(shown, text)
    return text
