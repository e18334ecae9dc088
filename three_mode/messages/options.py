"""Options of a request: tools, the shape of the answer, thinking, caching."""

from typing import Any, Literal

from msgspec import Struct

from three_mode.pydantic_models import json_schema


class Option(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the options: a frozen struct in which an unknown field is an error."""


class Tool(Option, frozen=True):
    """A tool that the model may call."""

    name: str  #: name that the model calls it by
    description: str = ""  #: what the tool does, for the model
    parameters: dict[str, Any] = {}  #: JSON Schema of the arguments
    strict: bool | None = None  #: whether the model is held to the schema; None: the provider's default
    cache: str | None = None  #: marks the end of a prefix for the provider's cache, and how long it lives: "5m" or "1h"


class ResponseFormat(Option, frozen=True):
    """Asks for an answer in JSON; with a schema, in JSON of that shape."""

    json_schema: dict[str, Any] | None = None  #: schema of the answer; None: any JSON
    name: str = "answer"  #: name of the schema, for providers that want one
    strict: bool = True  #: whether the provider holds the model to the schema

    @classmethod
    def of(cls, kind: Any) -> "ResponseFormat":
        """Format of the type that `LLMResponse.parse` reads: a dataclass, a TypedDict, a pydantic model, `list[int]`"""
        return cls(json_schema=json_schema(kind), name=getattr(kind, "__name__", "answer"))


class Reasoning(Option, frozen=True):
    """How much the model may think."""

    effort: str | None = None  #: the provider's word for it: "low", "high"...
    budget_tokens: int | None = None  #: most tokens of thinking


class CacheHints(Option, frozen=True):
    """Hints for two caches: the provider's cache of prompts, and the connection's cache of replies."""

    key: str | None = None  #: groups requests that share a prefix, for the provider
    #: the cache of replies: "skip" neither reads nor writes it, "refresh" calls again and stores the new reply
    response: Literal["default", "skip", "refresh"] = "default"
    ttl: float | None = None  #: seconds that this reply is kept; None: as `CacheOptions` says
