"""Choice of the wire format of an answer, by the path of the request."""

from collections.abc import Sequence

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire import anthropic, embeddings, gemini, ollama, openai, openai_completions, rerank
from three_mode.testing.wire.events import document


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    path = seen.path.partition("?")[0]
    if path.endswith("/chat/completions"):
        return openai.render(turn, seen)
    if path.endswith("/completions"):
        return openai_completions.render(turn, seen)
    if path.endswith("/v1/messages"):
        return anthropic.render(turn, seen)
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return gemini.render(turn, seen)
    if path.endswith("/api/chat"):
        return ollama.render(turn, seen)
    if path.endswith("/embeddings"):
        return embeddings.openai(turn, seen)
    if path.endswith("/rerank"):
        return rerank.render(turn, seen)
    if path.endswith(":batchEmbedContents"):
        return embeddings.gemini(turn, seen)
    if path.endswith("/api/embed"):
        return embeddings.ollama(turn, seen)
    return _unknown(path)


def render_models(models: Sequence[str], seen: Seen) -> Answer | None:
    """Answers a request for the list of models; None for any other request."""
    path = seen.path.partition("?")[0]
    if seen.method != "GET":
        return None
    if path.endswith("/api/tags"):
        return document({"models": [{"name": name, "model": name} for name in models]})
    if path.endswith("/v1beta/models"):
        methods = ["generateContent", "streamGenerateContent", "batchEmbedContents"]
        return document(
            {"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in models]}
        )
    if path.endswith("/models"):
        if "anthropic-version" in seen.headers:
            data = [{"type": "model", "id": name, "display_name": name} for name in models]
            return document({"data": data, "has_more": False})
        return document({"object": "list", "data": [{"id": name, "object": "model"} for name in models]})
    return None


def _unknown(path: str) -> Answer:
    return document(openai.error(f"the scripted provider has no path {path}", "invalid_request_error"), status=404)
