"""surge:pki:Authority and surge:pki:Certificate as the engine sees them."""

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pulumi.provider.experimental import provider as api
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from . import pki
from .problems import ProblemError
from .values import UNKNOWN, changed, failures, plain, wrap

if TYPE_CHECKING:
    from .provider import Properties, Work

__all__ = ["PkiAuthority", "PkiCertificate"]

OUTPUTS = ("certificate", "private_key", "not_after")


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


class _Issue(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    common_name: Annotated[str, Field(min_length=1, max_length=64)]
    organizations: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    validity_days: Annotated[int, Field(gt=0)] = 365
    renew_before_days: Annotated[int, Field(ge=0)] = 30
    key_algorithm: Literal["ecdsa-p256", "rsa-2048"] = "ecdsa-p256"


class _AuthorityInputs(_Issue):
    path_length: Annotated[int, Field(ge=0)] = 0


class _CertificateInputs(_Issue):
    authority_certificate: str
    authority_key: str
    usages: Annotated[list[Literal["server", "client"]], Field(min_length=1)]
    dns_names: list[Annotated[str, Field(min_length=1)]] = []
    ip_addresses: list[Annotated[str, AfterValidator(_address)]] = []


class _Pki:
    """Both types do the same with different inputs."""

    def __init__(self, model: type[_Issue], issue: Callable[..., pki.Issued]) -> None:
        self._model = model
        self._issue = issue
        self._inputs = tuple(model.model_fields)

    def check(self, name: str, news: "Properties") -> tuple["Properties", list[tuple[str, str]]]:
        del name
        inputs = {key: value for key, value in news.items() if key not in OUTPUTS and value.value is not None}
        if "authority_key" in inputs:
            inputs["authority_key"] = inputs["authority_key"].with_secret(True)
        return inputs, failures(self._model, {key: plain(value) for key, value in inputs.items()})

    def diff(self, olds: "Properties", news: "Properties") -> api.DiffResponse:
        kinds = api.PropertyDiffKind
        shown = {name: api.PropertyDiff(kinds.UPDATE, True) for name in changed(olds, news, self._inputs)}
        days = plain(news["renew_before_days"]) if "renew_before_days" in news else 30
        if isinstance(days, int) and pki.is_due(str(olds["not_after"].value), days):
            shown["not_after"] = api.PropertyDiff(kinds.UPDATE, False)
        return api.DiffResponse(changes=bool(shown), diffs=list(shown), detailed_diff=shown)

    def create(self, name: str, news: "Properties", work: "Work") -> tuple[str, "Properties"]:
        return name, self._issued(news, work.preview)

    def read(self, identifier: str, state: "Properties") -> "Properties | None":
        del identifier
        return state

    def update(self, identifier: str, olds: "Properties", news: "Properties", work: "Work") -> "Properties":
        del identifier, olds
        return self._issued(news, work.preview)

    def delete(self, identifier: str, state: "Properties") -> None:
        """A certificate is state alone: nothing to remove elsewhere."""

    def _issued(self, news: "Properties", preview: bool) -> "Properties":
        if preview:
            unknown = wrap(UNKNOWN)
            return {**news, "certificate": unknown, "private_key": unknown, "not_after": unknown}
        values = self._model.model_validate({name: plain(value) for name, value in news.items()})
        arguments: dict[str, Any] = values.model_dump(exclude={"renew_before_days", "common_name"})
        try:
            issued = self._issue(values.common_name, **arguments)
        except ValueError as error:
            raise ProblemError(f"no certificate for {values.common_name}: {error}") from error
        return {
            **news,
            "certificate": wrap(issued.certificate),
            "private_key": wrap(issued.private_key, secret=True),
            "not_after": wrap(issued.not_after),
        }


class PkiAuthority(_Pki):
    def __init__(self) -> None:
        super().__init__(_AuthorityInputs, pki.authority)


class PkiCertificate(_Pki):
    def __init__(self) -> None:
        super().__init__(_CertificateInputs, pki.certificate)
