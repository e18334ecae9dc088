"""Replies of OpenAI's chat completions: whole ones, and the chunks of streamed ones."""

from typing import Any, Final

import msgspec

from three_mode.errors import (
    ContentFilter,
    ContextLength,
    InvalidRequest,
    LLMError,
    NotFound,
    ProviderOverloaded,
    QuotaExhausted,
    RateLimit,
    ServerError,
    UnsupportedParameter,
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
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.messages.plain import tool_call
from three_mode.providers.codec import Headers
from three_mode.providers.pieces import count_of, gathered, text_of
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply, by_status, refusal, without_keys
from three_mode.providers.stream import EventDecoder

FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "eos": "stop",
    "max_tokens": "length",
    "insufficient_system_resource": "unknown",
}
_TOP = frozenset(("id", "object", "created", "model", "choices", "usage", "error", "obfuscation"))
_CHOICE = frozenset(("index", "message", "delta", "text", "finish_reason"))
_MESSAGE = frozenset(("role", "content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call"))


def usage(value: Any) -> Usage:
    """Reads usage. Cached tokens are in OpenAI's details or in DeepSeek's own count."""
    prompt = value.get("prompt_tokens_details") or {}
    completion = value.get("completion_tokens_details") or {}
    cached = prompt.get("cached_tokens")
    if cached is None:
        cached = value.get("prompt_cache_hit_tokens")
    return Usage(
        count_of(value.get("prompt_tokens")),
        count_of(value.get("completion_tokens")),
        count_of(cached),
        count_of(prompt.get("cache_write_tokens")),
        count_of(completion.get("reasoning_tokens")),
    )


def response(reply: Any, profile: Profile) -> LLMResponse:
    """Reads a whole reply."""
    choices = reply["choices"]
    if not choices:
        raise bad_reply(profile, "the reply has no choices")
    choice = choices[0]
    message = {"content": choice["text"]} if "text" in choice else choice["message"]
    parts: list[Part] = []
    thinking = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    if thinking:
        parts.append(Thinking(thinking, provider=profile.name))
    content = text_of(message.get("content")) or text_of(message.get("refusal"))
    if content:
        parts.append(Text(content))
    for call in message.get("tool_calls") or ():
        function = call["function"]
        parts.append(tool_call(text_of(call.get("id")), text_of(function["name"]), function.get("arguments") or ""))
    extra: dict[str, Any] = {}
    for known, value in ((_TOP, reply), (_CHOICE, choice), (_MESSAGE, message)):
        if not value.keys() <= known:
            gathered(extra, {key: value[key] for key in value.keys() - known})
    if message.get("refusal"):
        extra["refusal"] = message["refusal"]
    if len(choices) > 1:
        extra["choices"] = choices[1:]
    return LLMResponse(
        parts=tuple(parts),
        model=text_of(reply.get("model")),
        provider=profile.name,
        usage=usage(reply["usage"]) if reply.get("usage") else Usage(),
        finish_reason=_finish(choice.get("finish_reason"), message),
        request_id=text_of(reply.get("id")),
        extra=extra,
    )


def _finish(reason: Any, message: Any) -> FinishReason:
    if message.get("refusal"):
        return "content_filter"
    found = FINISH.get(reason, "unknown") if reason else "unknown"
    calls = found == "stop" and message.get("tool_calls")  # some hosts send "stop" with a call
    return "tool_calls" if calls else found


def only_text(value: Any) -> TextDelta | None:
    """Chunk of an event that carries text and no other new content; None for any other event.

    The event may have unknown fields, unless they hold lists or dicts: those are gathered from every event.
    """
    choices = value.get("choices")
    if not choices or value.get("usage") or value.get("error"):
        return None
    choice = choices[0]
    delta = choice.get("delta")
    if not delta or choice.get("index") or choice.get("finish_reason") is not None:
        return None
    content = {key: item for key, item in delta.items() if item and key not in ("role", "function_call")}
    others = [*(value.keys() - _TOP), *(choice.keys() - _CHOICE)]
    if content.keys() != {"content"} or type(content["content"]) is not str:
        return None
    if any(isinstance(value.get(key, choice.get(key)), dict | list) for key in others):
        return None
    return TextDelta(content["content"], 0)


class OpenAIDecoder(EventDecoder):
    """Decodes `chat.completion.chunk` events to chunks.

    A tool call is known by its index; its id and name come once.
    """

    __slots__ = ("_calls", "_extra", "_finish", "_indexes", "_refused", "_started")

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, only_text)
        self._started = False
        self._finish: FinishReason | None = None
        self._calls = 0
        self._indexes: dict[str, int] = {}
        self._refused = False
        self._extra: dict[str, Any] = {}

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        """Adds the chunks of one event."""
        if unit == b"[DONE]":
            self._end(out)
            return
        value = msgspec.json.decode(unit)
        failure = value.get("error")
        if failure:
            self.error = self.failure(failure)
            return
        if not self._started:
            self._started = True
            out.append(Start(text_of(value.get("model")), self.profile.name, request_id=text_of(value.get("id"))))
        choices = value.get("choices")
        if choices:
            choice = choices[0]
            if choice.get("index"):
                raise ValueError("a second choice")
            delta = choice.get("delta")
            if delta:
                self._delta(delta, out)
            elif choice.get("text"):  # of a bare prompt's answer
                out.append(TextDelta(text_of(choice["text"]), 0))
            reason = choice.get("finish_reason")
            if reason is not None:
                self._finish = FINISH.get(reason, "unknown")
            if not choice.keys() <= _CHOICE:
                gathered(self._extra, {key: choice[key] for key in choice.keys() - _CHOICE})
        counted = value.get("usage")
        if counted:
            out.append(UsageUpdate(usage(counted)))
        if not value.keys() <= _TOP:
            gathered(self._extra, {key: value[key] for key in value.keys() - _TOP})

    def failure(self, value: Any) -> LLMError:
        """Error of an event with `error`."""
        return chat_error(self.profile, 0, (), {"error": value})

    def _delta(self, delta: dict[str, Any], out: list[Chunk]) -> None:
        text = delta.get("content")
        if text:
            out.append(TextDelta(text_of(text), 0))
        if len(delta) == 1 and text is not None:
            return
        thinking = delta.get("reasoning_content") or delta.get("reasoning")
        if thinking:
            out.append(ThinkingDelta(text_of(thinking), provider=self.profile.name))
        declined = delta.get("refusal")
        if declined:
            self._refused = True
            gathered(self._extra, {"refusal": self._extra.get("refusal", "") + text_of(declined)})
            out.append(TextDelta(text_of(declined), 0))
        for call in delta.get("tool_calls") or ():
            self._call(call, out)
        if not delta.keys() <= _MESSAGE:
            gathered(self._extra, {key: delta[key] for key in delta.keys() - _MESSAGE})

    def _call(self, call: dict[str, Any], out: list[Chunk]) -> None:
        function = call.get("function") or {}
        identity = text_of(call.get("id")) or None
        index = call.get("index")
        if index is None:  # some hosts leave the index out and send each call whole
            index = self._indexes.setdefault(identity or f"call {self._calls}", self._calls)
        if not isinstance(index, int):
            raise TypeError("the index of a tool call is a whole number")
        self._calls = max(self._calls, index + 1)
        out.append(
            ToolDelta(index, identity, text_of(function.get("name")) or None, text_of(function.get("arguments")))
        )

    def _end(self, out: list[Chunk]) -> None:
        if self.done:
            return
        reason = self._finish or "unknown"
        if self._refused:
            reason = "content_filter"
        elif reason == "stop" and self._calls:
            reason = "tool_calls"
        out.append(Finish(reason, extra=self._extra))
        self.done = True

    def ended(self, out: list[Chunk]) -> None:
        """Ends the reply if a finish reason came: several hosts never send `[DONE]`. Otherwise the stream was cut."""
        if self._finish is not None:
            self._end(out)
        else:
            self.cut()


def chat_error(profile: Profile, status: int, headers: Headers, reply: dict[str, Any]) -> LLMError:
    """Reads `{"error": {message, type, param, code}}`. Some types and codes are more exact than the status."""
    error = reply.get("error", reply)
    if isinstance(error, dict):
        message = str(error.get("message") or "")
        code = error.get("code") or error.get("type")
        kinds = f"{error.get('type')} {error.get('code')}"
    else:
        message, code, kinds = str(error or reply.get("message") or ""), None, ""
    kind: type[LLMError] | None = None
    wait = None
    if "insufficient_quota" in kinds or "billing" in kinds:
        kind = RateLimit if profile.quota_is_rate and status in (0, 429) else QuotaExhausted
    elif "content_filter" in kinds or "content_policy" in kinds or "data_inspection_failed" in kinds:
        kind = ContentFilter
    elif "model_not_found" in kinds:
        kind = NotFound
    elif "unsupported_parameter" in kinds or "unsupported_value" in kinds:
        kind = UnsupportedParameter
    elif not status:
        kind, wait = _inside_a_stream(kinds)
    found = refusal(profile, status, headers, message, str(code) if code else None, kind, wait)
    if isinstance(error, dict) and error.get("param") and hasattr(found, "field"):
        found.field = without_keys(str(error["param"]))
    return found


def _inside_a_stream(kinds: str) -> tuple[type[LLMError] | None, float | None]:
    """Class and wait of an error inside a stream, which has no status.

    A number as its code is one (OpenRouter, vLLM).
    """
    if "context_length_exceeded" in kinds:
        return ContextLength, None
    for word in kinds.split():
        if word.isdigit() and 400 <= int(word) < 600:
            return by_status(int(word)), None
    if "rate_limit" in kinds or "requests" in kinds or "tokens" in kinds:
        return RateLimit, None
    if "overloaded" in kinds:
        return ProviderOverloaded, None
    if "invalid_request" in kinds:
        return InvalidRequest, None
    return ServerError, None


__all__ = ["OpenAIDecoder", "chat_error", "response", "usage"]
