"""Refusals, each as one readable line: what was seen, why, and the next command."""

import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "CancelledError",
    "KindMissingError",
    "NotReadyError",
    "ProblemError",
    "RefusedError",
    "UnreachableError",
    "redact",
]

IMMUTABLE = re.compile(
    r"field is immutable|may not be changed|updates to .* are forbidden|is forbidden: updat"
)


class ProblemError(Exception):
    """Something the user has to know; its text is what the user reads."""


class UnreachableError(ProblemError):
    def __init__(self, server: str, why: str) -> None:
        super().__init__(
            f"Kubernetes API server {server} is unreachable: {why}. Nothing was changed. Check that the "
            f"cluster runs and that the provider's kubeconfig points to it; if it is gone for good, set "
            f"PULUMI_K8S_DELETE_UNREACHABLE=true to drop its resources from the state"
        )


class KindMissingError(ProblemError):
    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(
            f"the API server does not serve {api_version} {kind}: create its CustomResourceDefinition first "
            f"(depends_on), or correct apiVersion; see `kubectl api-resources`"
        )


class NotReadyError(ProblemError):
    """The object exists, but it did not become ready. `live` is its last seen state."""

    def __init__(self, message: str, live: dict[str, Any], reasons: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.live = live
        self.reasons = [message, *reasons]


class CancelledError(NotReadyError):
    """The user pressed Ctrl-C while we waited."""


class RefusedError(ProblemError):
    """The API server answered with an error status."""

    def __init__(self, status: int, body: str, about: str) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        self.status = status
        self.reason: str = answer.get("reason", "") if isinstance(answer, dict) else ""
        self.message: str = answer.get("message", body) if isinstance(answer, dict) else body
        details = (answer.get("details") or {}) if isinstance(answer, dict) else {}
        self.causes: list[dict[str, str]] = details.get("causes") or []
        super().__init__(f"{about}: {self._line()}")

    @property
    def conflict(self) -> bool:
        return any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)

    @property
    def not_permitted(self) -> bool:
        """RBAC, not admission: the account may not do this at all."""
        return self.status == 403 and "cannot " in self.message and "admission" not in self.message

    def _line(self) -> str:
        if self.conflict:
            return self._conflicts()
        message = " ".join(self.message.split()) or f"HTTP {self.status}"
        if self.status == 422 and IMMUTABLE.search(message):
            message += (
                " (to change it, have the resource replaced: ResourceOptions(replace_on_changes=[...]))"
            )
        if self.not_permitted:
            message += " (the kubeconfig's account lacks this right: see `kubectl auth can-i`)"
        return f"{message} ({self.reason or 'HTTP'} {self.status})"

    def _conflicts(self) -> str:
        fields: dict[str, list[str]] = {}
        for cause in self.causes:
            manager = re.search(r'conflict with "([^"]+)"', cause.get("message", ""))
            fields.setdefault(manager[1] if manager else "?", []).append(cause.get("field", "?"))
        owners = "; ".join(f'"{name}" manages {", ".join(sorted(held))}' for name, held in fields.items())
        return (
            f"conflict: {owners}. To take these fields over, set the annotation "
            f'pulumi.com/patchForce: "true" on the resource; to leave them to their manager, drop them '
            f"from the program or list them in ignore_changes"
        )


def redact(message: str, secrets: Iterable[str]) -> str:
    """message without the given texts. Texts of fewer than 4 characters would garble it, and are kept."""
    for text in sorted(secrets, key=len, reverse=True):
        if len(text) >= 4:
            message = message.replace(text, "[secret]")
            message = message.replace(json.dumps(text)[1:-1], "[secret]")
    return message
