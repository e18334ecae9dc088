"""What a client of Anthropic's API sends, as typed values. A field that no value here names is left to `body`."""

from typing import Any, Literal

from msgspec import Struct


class CacheControl(Struct, frozen=True, gc=False):
    """Marks the end of a prefix that is worth keeping, and how long."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: str | None = None


class _TypedBlock(Struct, frozen=True, tag_field="type", gc=False):
    """Base of the blocks: `type` names the kind."""


class TextBlock(_TypedBlock, frozen=True, tag="text", gc=False):
    text: str
    cache_control: CacheControl | None = None


class Base64Source(_TypedBlock, frozen=True, tag="base64", gc=False):
    media_type: str
    data: bytes


class URLSource(_TypedBlock, frozen=True, tag="url", gc=False):
    url: str


class ImageBlock(_TypedBlock, frozen=True, tag="image", gc=False):
    source: Base64Source | URLSource
    cache_control: CacheControl | None = None


class ToolUseBlock(_TypedBlock, frozen=True, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(_TypedBlock, frozen=True, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(_TypedBlock, frozen=True, tag="thinking", gc=False):
    thinking: str
    signature: str = ""


class RedactedBlock(_TypedBlock, frozen=True, tag="redacted_thinking", gc=False):
    data: str


Block = TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedBlock


class WireTurn(Struct, frozen=True):
    """One message. Newer clients may put one of the system between the others."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolOffer(Struct, frozen=True):
    """A tool. One with a `type` of its own would run at Anthropic."""

    name: str
    input_schema: dict[str, Any] = {}
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingChoice(Struct, frozen=True):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct, frozen=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True):
    effort: str | None = None
    format: OutputFormat | None = None


class MessagesBody(Struct, frozen=True):
    """Body of a request. All other fields go to the provider as they are."""

    model: str
    messages: list[WireTurn]
    max_tokens: int | None = None
    system: str | list[TextBlock] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[ToolOffer] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingChoice | None = None
    output_config: OutputConfig | None = None
    metadata: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
