"""Codec of Anthropic's Messages API."""

import re
from typing import Any

from three_mode.errors import LLMError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import headers as rate
from three_mode.providers.anthropic_reply import AnthropicDecoder, message_error, response
from three_mode.providers.anthropic_request import messages_body
from three_mode.providers.codec import Codec, Header, Headers, LimitReading, Outgoing
from three_mode.providers.pieces import EVENT_HEADERS, JSON_HEADERS, encode_json, merged, reading
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import loads, plain_words, refusal

_VERSIONED = re.compile(r"/v\d+[a-z0-9]*$")
VERSION: tuple[Header, ...] = ((b"anthropic-version", b"2026-10-21"),)
# The newest version refuses these fields; the version before it still takes them, for models that support them.
SAMPLING = ("temperature", "top_p", "top_k")
VERSION_WITH_SAMPLING: tuple[Header, ...] = ((b"anthropic-version", b"2023-06-01"),)


def api_url(base_url: str) -> str:
    """The URL that the API is under, of one as Anthropic's own clients take it: they add the version to its path."""
    base = base_url.rstrip("/")
    return base if _VERSIONED.search(base) else f"{base}/v1"


class AnthropicCodec(Codec):
    """Codec of Anthropic: `POST {base}/messages`, the key in `x-api-key`, named events that end with `message_stop`."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        body, more = merged(messages_body(request, model, self.profile, stream), request, self.profile)
        version = VERSION_WITH_SAMPLING if any(name in body for name in SAMPLING) else VERSION
        headers = (EVENT_HEADERS if stream else JSON_HEADERS) + version
        return Outgoing("POST", "/messages", encode_json(body), headers + more)

    def decode(self, body: bytes) -> LLMResponse:
        return reading(self.profile, self._read, body)

    def _read(self, reply: Any) -> LLMResponse:
        if reply.get("type") == "error":
            raise message_error(self.profile, 0, (), reply)
        return response(reply, self.profile)

    def decoder(self) -> AnthropicDecoder:
        return AnthropicDecoder(self.profile)

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        reply = loads(body)
        if not isinstance(reply, dict):
            return refusal(self.profile, status, headers, plain_words(body))
        return message_error(self.profile, status, headers, reply)

    def limits(self, headers: Headers) -> LimitReading | None:
        return rate.limits(headers)

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        return ((b"x-api-key", api_key.encode()),) if api_key else ()

    def encode_models(self) -> Outgoing:
        return Outgoing("GET", "/models?limit=1000", headers=JSON_HEADERS[1:] + VERSION)

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        return reading(
            self.profile,
            lambda reply: tuple(str(model["id"]) for model in reply["data"]),
            body,
            "list of models",
        )
