"""Codec of OpenAI's chat completions, the wire format of most providers."""

from typing import Any

from three_mode.errors import LLMError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import headers as rate
from three_mode.providers.codec import Codec, Header, Headers, LimitReading, Outgoing
from three_mode.providers.openai_plain import plain_reply
from three_mode.providers.openai_reply import FINISH, OpenAIDecoder, chat_error, response
from three_mode.providers.openai_request import chat_body, completion_body
from three_mode.providers.pieces import EVENT_HEADERS, JSON_HEADERS, encode_json, merged, reading
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import loads, plain_words, refusal


class OpenAICodec(Codec):
    """Codec of OpenAI: `POST {base}/chat/completions`, a Bearer key, server-sent events that end with `[DONE]`.

    A bare prompt goes to `/completions`, whose replies differ in their choices alone.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        bare = request.prompt is not None
        made = (completion_body if bare else chat_body)(request, model, self.profile, stream)
        body, more = merged(made, request, self.profile)
        headers, path = EVENT_HEADERS if stream else JSON_HEADERS, "/completions" if bare else "/chat/completions"
        return Outgoing("POST", path, encode_json(body), headers + more if more else headers)

    def decode(self, body: bytes) -> LLMResponse:
        return plain_reply(body, self.profile.name, FINISH) or reading(self.profile, self._read, body)

    def _read(self, reply: Any) -> LLMResponse:
        if reply.get("error") and not reply.get("choices"):
            raise chat_error(self.profile, 0, (), reply)
        return response(reply, self.profile)

    def decoder(self) -> OpenAIDecoder:
        return OpenAIDecoder(self.profile)

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        reply = loads(body)
        if isinstance(reply, list) and reply:  # Google's compatible endpoint sends an array
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
