"""What the engine and the program say, without colour codes, tracebacks and secrets."""

import re

from surge.cli.redaction import redacted

__all__ = ["readable"]

_MARKUP = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+), in (\S+)', re.MULTILINE)
_PREFIX = re.compile(r"^(error|warning):\s*", re.IGNORECASE)

# Said after every failure, below the reason itself.
_NOISE = re.compile(
    r"^(update|preview|destroy|refresh) (failed|canceled)$|^resource registration was canceled|^BAIL: "
    # How every bundled part of the engine is found.
    r"|^using pulumi-\S+ from \$PATH",
    re.IGNORECASE,
)


def readable(message: str) -> str:
    """Return the message as a person would write it; "" when it only repeats that something failed.

    Of a Python traceback the exception and its innermost line in the project are left.
    """
    text = _PREFIX.sub("", _MARKUP.sub("", message).strip())
    if _NOISE.search(text):
        return ""
    if "Traceback (most recent call last)" in text:
        text = _without_traceback(text)
    return redacted(text)


def _without_traceback(text: str) -> str:
    lines = [line for line in text.rstrip().splitlines() if line.strip()]
    last = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith(" ")), len(lines) - 1)
    reason = "\n".join(lines[last + 1 :]) or lines[-1].strip()
    frames = _FRAME.findall(text)
    ours = [
        frame
        for frame in frames
        if not frame[0].startswith("<") and "site-packages" not in frame[0] and "/lib/python" not in frame[0]
    ]
    where = ours[-1:]
    return reason + "".join(f"\n(at {path}, line {line}, in {name})" for path, line, name in where)
