"""Reranking at providers: `POST {base}/rerank`, the shape that Jina, Cohere, vLLM and llama-server share. Pure."""

import math
from typing import Any

from three_mode.errors import UnsupportedParameter
from three_mode.messages import Ranked, Reranked, RerankRequest, Usage
from three_mode.messages.reranking import best_first
from three_mode.providers.codec import Outgoing
from three_mode.providers.pieces import JSON_HEADERS, count_of, encode_json, reading, text_of, with_extra
from three_mode.providers.profile import Profile


def encode(profile: Profile, request: RerankRequest, model: str) -> Outgoing:
    """Encodes the HTTP request."""
    if profile.wire != "openai":
        raise unranked(profile, model)
    body: dict[str, Any] = {"model": model, "query": request.query, "documents": request.documents}
    if request.top_n is not None:
        body["top_n"] = request.top_n
    return Outgoing("POST", "/rerank", encode_json(with_extra(body, request.extra)), JSON_HEADERS)


def decode(profile: Profile, request: RerankRequest, model: str, body: bytes) -> Reranked:
    """Decodes the documents, the best first. One that was not asked about, or is missing, is a `BadReply`."""
    return reading(profile, lambda reply: _read(profile, request, model, reply), body, "list of ranked documents")


def unranked(profile: Profile, model: str) -> UnsupportedParameter:
    """Error for a provider that reranks nothing."""
    return UnsupportedParameter(
        f"{profile.name} reranks no documents",
        field="model",
        provider=profile.name,
        model=model,
        hint="a base URL of OpenAI's format with /rerank does (Jina, Cohere, vLLM, llama-server), and a local reranker",
    )


def _read(profile: Profile, request: RerankRequest, model: str, reply: Any) -> Reranked:
    scored = [Ranked(_place(item["index"]), _score(item["relevance_score"])) for item in reply["results"]]
    usage, meta = reply.get("usage") or {}, reply.get("meta") or {}
    tokens = usage.get("prompt_tokens") or usage.get("total_tokens") or (meta.get("tokens") or {}).get("input_tokens")
    used = Usage(input_tokens=count_of(tokens))
    return Reranked(best_first(scored, request), text_of(reply.get("model")) or model, used, profile.name)


def _place(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("the index of a document is a whole number")
    return value


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("a score is a finite number")
    return float(value)
