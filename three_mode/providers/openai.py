"""OpenAI's chat completions: the wire format that most providers speak, each with a profile of its own."""

from typing import Any

from three_mode.errors import (
    ContentFilter,
    LLMError,
    NotFound,
    QuotaExhausted,
    RateLimit,
    UnsupportedParameter,
)
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import headers as rate
from three_mode.providers.codec import Header, Headers, LimitReading, Outgoing
from three_mode.providers.openai_reply import OpenAIDecoder, response
from three_mode.providers.openai_request import chat_body
from three_mode.providers.pieces import EVENT_HEADERS, JSON_HEADERS, encode_json, merged, reading
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import loads, plain_words, refusal


class OpenAICodec:
    """`POST {base}/chat/completions`, a Bearer key, server-sent events that end with `[DONE]`."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        body, more = merged(chat_body(request, model, self.profile, stream), request, self.profile)
        headers = EVENT_HEADERS if stream else JSON_HEADERS
        return Outgoing("POST", "/chat/completions", encode_json(body), headers + more if more else headers)

    def decode(self, body: bytes) -> LLMResponse:
        return reading(self.profile, self._read, body)

    def _read(self, reply: Any) -> LLMResponse:
        if reply.get("error") and not reply.get("choices"):
            raise chat_error(self.profile, 0, (), reply)
        return response(reply, self.profile)

    def decoder(self) -> OpenAIDecoder:
        return OpenAIDecoder(self.profile)

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        reply = loads(body)
        if isinstance(reply, list) and reply:  # Google's compatible endpoint wraps it
            reply = reply[0]
        if not isinstance(reply, dict) or not reply:
            return refusal(self.profile, status, headers, plain_words(body))
        return chat_error(self.profile, status, headers, reply)

    def limits(self, headers: Headers) -> LimitReading | None:
        return rate.limits(headers)

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        return ((b"authorization", b"Bearer " + api_key.encode()),) if api_key else ()

    def encode_models(self) -> Outgoing:
        return Outgoing("GET", "/models", headers=JSON_HEADERS[1:])

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        return reading(
            self.profile,
            lambda reply: tuple(str(model["id"]) for model in reply["data"]),
            body,
            "list of models",
        )


def chat_error(profile: Profile, status: int, headers: Headers, reply: dict[str, Any]) -> LLMError:
    """`{"error": {message, type, param, code}}`, with the words that mean more than the status."""
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
        found.field = str(error["param"])
    return found


def _inside_a_stream(kinds: str) -> tuple[type[LLMError] | None, float | None]:
    """An error in a 200 has no status: its type is all there is. Numbers as codes are statuses (OpenRouter, vLLM)."""
    from three_mode.errors import ContextLength, InvalidRequest, ProviderOverloaded, ServerError
    from three_mode.providers.refusals import by_status

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
