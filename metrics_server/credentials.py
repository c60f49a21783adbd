"""The broker user's name and password, from a file that may be replaced at any time."""

from pathlib import Path

from metrics_server.config import ConfigError, Followed

__all__ = ["Credentials"]


class Credentials:
    """file: one line, `user:password`. Raises ConfigError at construction when it is anything else."""

    def __init__(self, file: Path) -> None:
        self._file = Followed(file)
        self._now = self._parsed(self._file.changed() or b"")

    def current(self) -> tuple[str, str]:
        """Return user and password as the file has them now. Raises ConfigError."""
        content = self._file.changed()
        if content is not None:
            self._now = self._parsed(content)
        return self._now

    def _parsed(self, content: bytes) -> tuple[str, str]:
        try:
            user, _, password = content.decode().strip("\r\n").partition(":")
        except UnicodeDecodeError:
            user = password = ""
        if not (user and password) or "\n" in password:
            raise ConfigError(f"{self._file.file}: want one line, user:password, in UTF-8")
        return user, password
