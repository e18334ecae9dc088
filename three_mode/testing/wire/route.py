"""Choice of the wire format of an answer, by the path of the request."""

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire import anthropic, embeddings, gemini, ollama, openai
from three_mode.testing.wire.events import document


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    path = seen.path.partition("?")[0]
    if path.endswith("/chat/completions"):
        return openai.render(turn, seen)
    if path.endswith("/v1/messages"):
        return anthropic.render(turn, seen)
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return gemini.render(turn, seen)
    if path.endswith("/api/chat"):
        return ollama.render(turn, seen)
    if path.endswith("/embeddings"):
        return embeddings.openai(turn, seen)
    if path.endswith(":batchEmbedContents"):
        return embeddings.gemini(turn, seen)
    if path.endswith("/api/embed"):
        return embeddings.ollama(turn, seen)
    return document(openai.error(f"the scripted provider has no path {path}", "invalid_request_error"), status=404)
