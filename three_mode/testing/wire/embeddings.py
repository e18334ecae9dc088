"""Embeddings in the wire formats of OpenAI, Gemini and Ollama, for the scripted provider.

A vector depends on its text alone, so that tests can predict it.
"""

import base64
import struct
from typing import Any

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire.events import document

WIDTH = 4  # numbers in a vector, unless the request says how many


def vector_of(text: str, width: int = WIDTH) -> list[float]:
    """Vector of a text, with numbers that are exact in 32 bits: base64 and decimals give the same."""
    data = text.encode()
    return [float(len(data)), *(float(sum(data) % (place + 3)) for place in range(width - 1))][:width]


def openai(turn: Turn, seen: Seen) -> Answer:
    """Answers `/embeddings`."""
    request = seen.json
    given = request["input"]
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    vectors = [vector_of(str(text), request.get("dimensions", WIDTH)) for text in texts]
    packed = request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": turn.input_tokens, "total_tokens": turn.input_tokens}
    return document({"object": "list", "data": data, "model": request["model"], "usage": usage})


def gemini(turn: Turn, seen: Seen) -> Answer:
    """Answers `:batchEmbedContents`."""

    def values(request: dict[str, Any]) -> list[float]:
        text = "".join(part["text"] for part in request["content"]["parts"])
        return vector_of(text, request.get("outputDimensionality", WIDTH))

    return document({"embeddings": [{"values": values(each)} for each in seen.json["requests"]]})


def ollama(turn: Turn, seen: Seen) -> Answer:
    """Answers `/api/embed`."""
    request = seen.json
    given = request["input"]
    texts = [given] if isinstance(given, str) else given
    vectors = [vector_of(text, request.get("dimensions", WIDTH)) for text in texts]
    return document(
        {
            "model": request["model"],
            "embeddings": vectors,
            "total_duration": 1_000_000,
            "load_duration": 1_000,
            "prompt_eval_count": turn.input_tokens,
        }
    )


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
