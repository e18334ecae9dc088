"""Agent cards: what an agent can do, where it is asked, and how. Pure."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.a2a import http_json, rpc
from three_mode.a2a.values import VERSION

TEXT, JSON = "text/plain", "application/json"
GRPC = "GRPC"  # its binding, whose messages need the extra `grpc`
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")


class _Card(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base: fields with defaults are left out where they have them."""


class AgentInterface(_Card, frozen=True, kw_only=True):
    """One way to ask an agent."""

    url: str  #: where it is asked
    protocol_binding: str  #: JSONRPC, HTTP+JSON or GRPC
    protocol_version: str = ""  #: major and minor version of the protocol
    tenant: str | None = None  #: what each request repeats


class AgentSkill(_Card, frozen=True, kw_only=True):
    """One thing that an agent does."""

    id: str  #: unique within the card
    name: str  #: its name, for people
    description: str  #: what it does, for people and models
    tags: tuple[str, ...] = ()  #: words to find it by
    examples: tuple[str, ...] = ()  #: messages that it answers
    input_modes: tuple[str, ...] = ()  #: media types that it takes, where they are not the agent's
    output_modes: tuple[str, ...] = ()  #: media types that it gives, where they are not the agent's


class AgentCapabilities(_Card, frozen=True, kw_only=True):
    """Optional parts of the protocol that an agent has."""

    streaming: bool | None = None  #: whether it streams
    push_notifications: bool | None = None  #: whether it calls a web hook
    extended_agent_card: bool | None = None  #: whether who is authenticated gets a longer card


class AgentCard(_Card, frozen=True, kw_only=True):
    """The card of an agent."""

    name: str  #: its name, for people
    description: str = ""  #: what it does
    supported_interfaces: tuple[AgentInterface, ...] = ()  #: where it is asked; the preferred one first
    version: str = ""  #: version of the agent
    capabilities: AgentCapabilities = AgentCapabilities()  #: optional parts of the protocol that it has
    default_input_modes: tuple[str, ...] = ()  #: media types that it takes
    default_output_modes: tuple[str, ...] = ()  #: media types that it gives
    skills: tuple[AgentSkill, ...] = ()  #: what it can do
    security_schemes: dict[str, Any] = {}  #: ways to authenticate, by name
    security_requirements: tuple[dict[str, Any], ...] = ()  #: which of them it needs
    documentation_url: str | None = None  #: where it is described


def interfaces(url: str, grpc: str = "", tenant: str = "") -> tuple[AgentInterface, ...]:
    """Both bindings over HTTP at one URL, and gRPC at `grpc`, where each request names the agent as `tenant`."""
    found = [
        AgentInterface(url=url, protocol_binding=binding, protocol_version=VERSION)
        for binding in (rpc.BINDING, http_json.BINDING)
    ]
    if grpc:
        found.append(AgentInterface(url=grpc, protocol_binding=GRPC, protocol_version=VERSION, tenant=tenant))
    return tuple(found)


def keys_needed() -> dict[str, Any]:
    """The fields of a card that say a request needs a key."""
    return {
        "security_schemes": {"bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}},
        "security_requirements": ({"schemes": {"bearer": {"list": []}}},),
    }


def written(card: AgentCard) -> tuple[bytes, bytes]:
    """A card as JSON, and its entity tag. Fields that the protocol requires are there, whatever they hold."""
    fields: dict[str, Any] = msgspec.to_builtins(card)
    for name in ("description", "version"):
        fields.setdefault(name, "")
    for skill in fields.get("skills", ()):
        skill.setdefault("tags", [])
    fields.setdefault("capabilities", {})
    body = msgspec.json.encode(fields)
    return body, b'"%b"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
