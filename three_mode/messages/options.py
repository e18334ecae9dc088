"""What a request may ask for beside its messages: tools, a shape for the answer, thinking, caching."""

from typing import Any, Literal

import msgspec
from msgspec import Struct


class Option(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the options of a request share."""


class Tool(Option, frozen=True):
    """A tool the model may call; `parameters` is a JSON Schema. `cache` marks the end of a prefix the provider may keep."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool | None = None
    cache: str | None = None


class ResponseFormat(Option, frozen=True):
    """The answer is JSON; with a schema, JSON of that shape."""

    json_schema: dict[str, Any] | None = None
    name: str = "answer"
    strict: bool = True

    @classmethod
    def of(cls, kind: Any) -> "ResponseFormat":
        """The format whose answer `LLMResponse.parse(kind)` reads: a dataclass, a struct, a TypedDict, `list[int]`..."""
        return cls(json_schema=msgspec.json.schema(kind), name=getattr(kind, "__name__", "answer"))


class Reasoning(Option, frozen=True):
    """How much the model may think: the provider's word for effort ("low", "high"...), or a budget of tokens."""

    effort: str | None = None
    budget_tokens: int | None = None


class CacheHints(Option, frozen=True):
    """`key` groups requests that share a prefix, for the provider. `response` steers our own cache of whole answers."""

    key: str | None = None
    response: Literal["default", "skip", "refresh"] = "default"
    ttl: float | None = None
