"""The inputs of surge:broker:Topology."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Binding", "Exchange", "Policy", "Queue", "Topology", "User"]

Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Exchange(_Part):
    name: Name
    type: str = "direct"
    durable: bool = True
    arguments: dict[str, Any] = {}


class Queue(_Part):
    name: Name
    type: Literal["quorum", "classic"] = "quorum"
    arguments: dict[str, Any] = {}


class Binding(_Part):
    source: Name
    destination: Name
    routing_key: str = ""
    arguments: dict[str, Any] = {}


class Policy(_Part):
    """definition: what can be changed while a queue lives, such as delivery-limit and max-length."""

    name: Name
    pattern: Annotated[str, Field(min_length=1)]
    apply_to: Literal["queues", "exchanges", "all"] = "queues"
    definition: Annotated[dict[str, Any], Field(min_length=1)]
    priority: int = 0


class Permissions(_Part):
    configure: str = ""
    write: str = ""
    read: str = ""


class User(_Part):
    name: Name
    password: Annotated[str, Field(min_length=1)]
    tags: list[str] = []
    permissions: Permissions = Permissions()


class Topology(_Part):
    """The inputs of surge:broker:Topology."""

    management_url: Annotated[str, Field(pattern=r"^https?://[^/]+")]
    admin_user: Name
    admin_password: str
    vhost: Name
    exchanges: list[Exchange] = []
    queues: list[Queue] = []
    bindings: list[Binding] = []
    policies: list[Policy] = []
    users: list[User] = []
    delete_non_empty: list[str] = []
    adopt: list[str] = []
    ca_certificate: str | None = None
