"""Embeddings at providers: requests and replies of each wire format that has them. Pure, as the codecs are."""

import base64
import struct
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from three_mode.errors import UnsupportedParameter
from three_mode.messages import Embedded, EmbedRequest, Usage
from three_mode.providers.codec import Outgoing
from three_mode.providers.pieces import JSON_HEADERS, count_of, encode_json, reading, with_extra
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply

Vector = tuple[float, ...]


def encode(profile: Profile, request: EmbedRequest, model: str) -> Outgoing:
    """Encodes the HTTP request for one vector a text."""
    if request.tokens and profile.wire != "openai":
        raise no_tokens(profile, model)
    if profile.wire == "openai":
        path, body = "/embeddings", _openai(request, model)
    elif profile.wire == "gemini":
        name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        path, body = f"/{quote(name)}:batchEmbedContents", _gemini(request, name)
    elif profile.wire == "ollama":
        path, body = "/api/embed", _body(request, model)
    else:
        raise unsupported(profile, model)
    return Outgoing("POST", path, encode_json(body), JSON_HEADERS)


def decode(profile: Profile, model: str, body: bytes, count: int) -> Embedded:
    """Decodes `count` vectors, in the order of the texts. Another number of vectors is a `BadReply`."""
    read = {"openai": _read_openai, "gemini": _read_gemini, "ollama": _read_ollama}[profile.wire]
    vectors, tokens = reading(profile, read, body, "list of embeddings")
    if len(vectors) != count:
        raise bad_reply(profile, f"{len(vectors)} embeddings came for {count} texts")
    return Embedded(vectors, model, Usage(input_tokens=tokens), profile.name)


def unsupported(profile: Profile, model: str) -> UnsupportedParameter:
    """Error for a provider without embeddings."""
    return UnsupportedParameter(
        f"{profile.name} has no embeddings",
        field="model",
        provider=profile.name,
        model=model,
        hint="openai, gemini and ollama have, and local models: gguf:PATH, or tiny",
    )


def no_tokens(profile: Profile, model: str) -> UnsupportedParameter:
    """Error for tokens that a provider does not take in place of texts."""
    return UnsupportedParameter(
        f"{profile.name} embeds texts, and no tokens",
        field="input",
        provider=profile.name,
        model=model,
        hint="give the texts; local models and OpenAI's format take tokens",
    )


def _body(request: EmbedRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": request.inputs}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return with_extra(body, request.extra)


def _openai(request: EmbedRequest, model: str) -> dict[str, Any]:
    """Asks for base64, a quarter of the bytes of decimals. A host that does not know the field sends decimals."""
    body = _body(request, model)
    body.setdefault("encoding_format", "base64")
    return body


def _gemini(request: EmbedRequest, name: str) -> dict[str, Any]:
    each: dict[str, Any] = {}
    if request.dimensions is not None:
        each["outputDimensionality"] = request.dimensions
    return {
        "requests": [
            with_extra({"content": {"parts": [{"text": text}], "role": "user"}, "model": name, **each}, request.extra)
            for text in request.texts
        ]
    }


def _read_openai(reply: Any) -> tuple[tuple[Vector, ...], int]:
    items = sorted(reply["data"], key=lambda item: count_of(item.get("index")))
    usage = reply.get("usage") or {}
    return tuple(_vector(item["embedding"]) for item in items), count_of(usage.get("prompt_tokens"))


def _read_gemini(reply: Any) -> tuple[tuple[Vector, ...], int]:
    usage = reply.get("usageMetadata") or {}
    return tuple(_vector(item["values"]) for item in reply["embeddings"]), count_of(usage.get("promptTokenCount"))


def _read_ollama(reply: Any) -> tuple[tuple[Vector, ...], int]:
    return tuple(map(_vector, reply["embeddings"])), count_of(reply.get("prompt_eval_count"))


def _vector(given: str | Sequence[Any]) -> Vector:
    if isinstance(given, str):
        data = base64.b64decode(given, validate=True)
        if len(data) % 4:
            raise ValueError("an embedding in base64 is 32-bit floats")
        return struct.unpack(f"<{len(data) // 4}f", data)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in given):
        raise TypeError("an embedding is numbers")
    return tuple(map(float, given))
