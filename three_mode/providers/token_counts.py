"""Counts of a request's tokens by the provider itself, where it has an endpoint for that. Pure, as the codecs are."""

from urllib.parse import quote

from three_mode.messages import LLMRequest
from three_mode.providers.anthropic import VERSION
from three_mode.providers.anthropic_request import messages_body
from three_mode.providers.codec import Outgoing
from three_mode.providers.gemini_request import content_body
from three_mode.providers.pieces import JSON_HEADERS, encode_json, reading
from three_mode.providers.profile import Profile

_COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking"})  # what Anthropic counts


def encode(profile: Profile, request: LLMRequest, model: str) -> Outgoing | None:
    """Encodes the HTTP request for a count; None: this wire format has none."""
    if profile.wire == "anthropic":
        whole = messages_body(request, model, profile, False)
        body = {name: value for name, value in whole.items() if name in _COUNTED}
        return Outgoing("POST", "/messages/count_tokens", encode_json(body), JSON_HEADERS + VERSION)
    if profile.wire == "gemini":
        name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        body = {"generateContentRequest": {"model": name, **content_body(request, profile)}}
        return Outgoing("POST", f"/{quote(name)}:countTokens", encode_json(body), JSON_HEADERS)
    return None


def decode(profile: Profile, body: bytes) -> int:
    """Decodes a count."""
    field = "totalTokens" if profile.wire == "gemini" else "input_tokens"
    return reading(profile, lambda reply: int(reply[field]), body, "count of tokens")
