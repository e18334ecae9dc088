"""Reranking in the shape of Jina and llama-server, for the scripted provider.

A score depends on query and document alone: how many words they share, so that tests can predict it.
"""

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire.events import document


def score_of(query: str, text: str) -> float:
    """Score of a document: the share of the words of the query that it has."""
    words = set(query.lower().split())
    return len(words & set(text.lower().split())) / len(words)


def render(turn: Turn, seen: Seen) -> Answer:
    """Answers `/rerank`."""
    request = seen.json
    scored = [(score_of(request["query"], text), index) for index, text in enumerate(request["documents"])]
    best = sorted(scored, key=lambda each: (-each[0], each[1]))[: request.get("top_n")]
    results = [{"index": index, "relevance_score": score} for score, index in best]
    usage = {"prompt_tokens": turn.input_tokens, "total_tokens": turn.input_tokens}
    return document({"model": request["model"], "object": "list", "usage": usage, "results": results})
