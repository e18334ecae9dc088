"""Replies of Anthropic's Messages API: whole ones, and the chunks of streamed ones."""

from typing import Any, Final

import msgspec

from three_mode.errors import (
    AuthenticationError,
    InvalidRequest,
    LLMError,
    NotFound,
    PermissionDenied,
    ProviderOverloaded,
    QuotaExhausted,
    RateLimit,
    ServerError,
)
from three_mode.messages import (
    Chunk,
    Finish,
    FinishReason,
    LLMResponse,
    Part,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.providers.codec import Headers
from three_mode.providers.pieces import count_of, encode_json, gathered, text_of
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import refusal, without_keys
from three_mode.providers.stream import EventDecoder

FINISH: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}
_TOP = frozenset(("id", "type", "role", "model", "content", "stop_reason", "usage"))
_KINDS: dict[str, type[LLMError]] = {
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDenied,
    "not_found_error": NotFound,
    "rate_limit_error": RateLimit,
    "api_error": ServerError,
    "timeout_error": ServerError,
    "overloaded_error": ProviderOverloaded,
    "invalid_request_error": InvalidRequest,
    "billing_error": QuotaExhausted,
    "request_too_large": InvalidRequest,
}


def usage(value: Any) -> Usage:
    """Reads usage.

    Anthropic's `input_tokens` excludes tokens read from and written to the cache; ours includes them.
    """
    read = count_of(value.get("cache_read_input_tokens"))
    written = count_of(value.get("cache_creation_input_tokens"))
    details = value.get("output_tokens_details") or {}
    return Usage(
        count_of(value.get("input_tokens")) + read + written,
        count_of(value.get("output_tokens")),
        read,
        written,
        count_of(details.get("reasoning_tokens") or details.get("thinking_tokens")),
    )


def response(reply: Any, profile: Profile) -> LLMResponse:
    """Reads a whole reply."""
    extra = {key: value for key, value in reply.items() if key not in _TOP and value is not None}
    if not isinstance(reply["content"], list):
        raise TypeError("the content is a list of blocks")
    parts: list[Part] = []
    for block in reply["content"]:
        part = _part(block, profile)
        if part is not None:
            parts.append(part)
        else:  # a kind without a name here, such as a block of a server tool
            extra.setdefault("content", []).append(block)
        if block.get("citations"):
            extra.setdefault("citations", []).extend(block["citations"])
    return LLMResponse(
        parts=tuple(parts),
        model=text_of(reply.get("model")),
        provider=profile.name,
        usage=usage(reply.get("usage") or {}),
        finish_reason=FINISH.get(reply.get("stop_reason"), "unknown"),
        request_id=text_of(reply.get("id")),
        extra=extra,
    )


def _part(block: Any, profile: Profile) -> Part | None:
    kind = block["type"]
    if kind == "text":
        return Text(text_of(block["text"]))
    if kind == "tool_use":
        if not isinstance(block["input"], dict):
            raise TypeError("the input of a tool is an object")
        return ToolCall(text_of(block["id"]), text_of(block["name"]), block["input"])
    if kind == "thinking":
        return Thinking(text_of(block["thinking"]), text_of(block.get("signature")) or None, provider=profile.name)
    if kind == "redacted_thinking":
        return Thinking(redacted=text_of(block["data"]), provider=profile.name)
    return None


class MessageEvents:
    """Decodes the events of one message, server-sent or as lines of the `claude` command, to chunks."""

    __slots__ = ("_counted", "_extra", "_finish", "_other", "_started", "error", "finished", "profile")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.error: LLMError | None = None
        self.finished = False
        self._started = False
        self._finish: FinishReason = "unknown"
        self._counted: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._other: dict[int, dict[str, Any]] = {}

    def take(self, event: dict[str, Any], out: list[Chunk]) -> None:
        """Appends the chunks of one event to `out`."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(event, out)
        elif kind == "content_block_start":
            self._block(event["index"], event["content_block"], out)
        elif kind == "content_block_stop":
            done = self._other.pop(event["index"], None)
            if done is not None:
                self._extra.setdefault("content", []).append(done)
        elif kind == "message_start":
            message = event["message"]
            self._started = True
            out.append(Start(text_of(message.get("model")), self.profile.name, request_id=text_of(message.get("id"))))
            self._count(message.get("usage"), out)
        elif kind == "message_delta":
            delta = event.get("delta") or {}
            self._finish = FINISH.get(delta.get("stop_reason") or "", "unknown")
            gathered(self._extra, {key: value for key, value in delta.items() if key != "stop_reason"})
            self._count(event.get("usage"), out)
        elif kind == "message_stop":
            out.append(Finish(self._finish, extra=self._extra))
            self.finished = True
        elif kind == "error":
            self.error = message_error(self.profile, 0, (), event)
        # A ping carries nothing. The API's versioning rules allow events of new kinds; they are ignored.

    def _count(self, counted: Any, out: list[Chunk]) -> None:
        """Adds counts. They are cumulative, and each event may leave some out."""
        if counted:
            self._counted.update({key: value for key, value in counted.items() if value is not None})
            out.append(UsageUpdate(usage(self._counted)))

    def _block(self, index: Any, block: dict[str, Any], out: list[Chunk]) -> None:
        if not isinstance(index, int):
            raise TypeError("the index of a block is a whole number")
        kind = block["type"]
        if kind == "tool_use":
            given = block.get("input")
            arguments = encode_json(given).decode() if given else ""
            out.append(ToolDelta(index, text_of(block["id"]), text_of(block["name"]), arguments))
        elif kind == "text":
            if block.get("text"):
                out.append(TextDelta(text_of(block["text"]), index))
        elif kind == "thinking":
            if block.get("thinking") or block.get("signature"):
                out.append(
                    ThinkingDelta(
                        text_of(block.get("thinking")),
                        text_of(block.get("signature")) or None,
                        provider=self.profile.name,
                        index=index,
                    )
                )
        elif kind == "redacted_thinking":
            out.append(ThinkingDelta(redacted=text_of(block["data"]), provider=self.profile.name, index=index))
        else:
            self._other[index] = dict(block)

    def _delta(self, event: dict[str, Any], out: list[Chunk]) -> None:
        index, delta = event["index"], event["delta"]
        if type(index) is not int:
            raise TypeError("the index of a block is a whole number")
        kind = delta["type"]
        if kind == "text_delta":
            out.append(TextDelta(text_of(delta["text"]), index))
        elif index in self._other:
            gathered(self._other[index], {"deltas": [delta]})
        elif kind == "input_json_delta":
            out.append(ToolDelta(index, arguments=text_of(delta["partial_json"])))
        elif kind == "thinking_delta":
            out.append(ThinkingDelta(text_of(delta["thinking"]), provider=self.profile.name, index=index))
        elif kind == "signature_delta":
            out.append(ThinkingDelta(signature=text_of(delta["signature"]), provider=self.profile.name, index=index))
        elif kind == "citations_delta":
            gathered(self._extra, {"citations": [delta.get("citation")]})


def only_text(event: Any) -> TextDelta | None:
    """Chunk of an event that carries text, and so nothing else; None for any other event."""
    if event.get("type") != "content_block_delta" or event["delta"]["type"] != "text_delta":
        return None
    return TextDelta(event["delta"]["text"], event["index"])


class AnthropicDecoder(EventDecoder):
    """Decodes the server-sent events of one message. Only `message_stop` ends it."""

    __slots__ = ("_message",)

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, only_text)
        self._message = MessageEvents(profile)

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        self._message.take(msgspec.json.decode(unit), out)
        self.error = self._message.error
        self.done = self._message.finished


def message_error(profile: Profile, status: int, headers: Headers, reply: dict[str, Any]) -> LLMError:
    """Reads `{"type": "error", "error": {type, message}}`, the body of a response or an event."""
    error = reply.get("error")
    if not isinstance(error, dict):
        return refusal(profile, status, headers, str(error or reply.get("message") or ""))
    code, message = str(error.get("type") or ""), str(error.get("message") or "")
    kind = _KINDS.get(code)
    if kind is InvalidRequest and "credit balance" in message:
        kind = QuotaExhausted
    if kind is None and not status:
        kind = ServerError
    found = refusal(profile, status, headers, message, code or None, kind)
    if found.request_id is None and isinstance(reply.get("request_id"), str):
        found.request_id = without_keys(reply["request_id"])
    return found
