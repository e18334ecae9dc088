"""Codec of Google's Gemini API."""

from urllib.parse import quote

from three_mode.errors import LLMError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import headers as rate
from three_mode.providers.codec import Codec, Header, Headers, LimitReading, Outgoing
from three_mode.providers.gemini_reply import GeminiDecoder, content_error, response
from three_mode.providers.gemini_request import content_body
from three_mode.providers.pieces import EVENT_HEADERS, JSON_HEADERS, encode_json, merged, reading
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import loads, plain_words, refusal


class GeminiCodec(Codec):
    """Codec of Gemini: the model in the path, the key in `x-goog-api-key`, server-sent events without an end marker."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        body, more = merged(content_body(request, self.profile), request, self.profile)
        name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        headers = EVENT_HEADERS if stream else JSON_HEADERS
        return Outgoing("POST", f"/{quote(name)}:{verb}", encode_json(body), headers + more)

    def decode(self, body: bytes) -> LLMResponse:
        return reading(self.profile, lambda reply: response(reply, self.profile), body)

    def decoder(self) -> GeminiDecoder:
        return GeminiDecoder(self.profile)

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        reply = loads(body)
        if isinstance(reply, list) and reply:  # the error of a stream is in an array
            reply = reply[0]
        if not isinstance(reply, dict):
            return refusal(self.profile, status, headers, plain_words(body))
        return content_error(self.profile, status, headers, reply)

    def limits(self, headers: Headers) -> LimitReading | None:
        return rate.limits(headers)

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        return ((b"x-goog-api-key", api_key.encode()),) if api_key else ()

    def encode_models(self) -> Outgoing:
        return Outgoing("GET", "/models?pageSize=1000", headers=JSON_HEADERS[1:])

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        return reading(
            self.profile,
            lambda reply: tuple(str(model["name"]).removeprefix("models/") for model in reply.get("models", ())),
            body,
            "list of models",
        )
