"""Exact counts of tokens: by the provider's own endpoint, or the tokenizer of a local model."""

import json

import pytest

from tests.support.providers.servers import connected, hello
from three_mode import LLMConnection, LLMRequest
from three_mode.errors import BadReply, ServerError
from three_mode.testing import Answer, Seen, Turn


def counting(seen: Seen) -> Turn | Answer:
    if "count_tokens" in seen.path:
        return Answer(pieces=(b'{"input_tokens": 42}',))
    if ":countTokens" in seen.path:
        return Answer(pieces=(b'{"totalTokens": 43}',))
    return Turn()


@pytest.mark.parametrize(("provider", "count"), [("anthropic", 42), ("gemini", 43), ("openai", None), ("ollama", None)])
async def test_a_provider_counts_where_it_can(provider: str, count: int | None) -> None:
    async with connected(provider) as (llm, server):
        server.always(counting)
        request = hello(max_tokens=5, temperature=0, tools=[{"name": "look", "parameters": {"type": "object"}}])
        assert await llm.count(request) == count
        assert len(server.seen) == (count is not None)
        if provider == "anthropic":
            assert server.seen[0].path == "/v1/messages/count_tokens"
            assert set(server.seen[0].json) == {"model", "messages", "tools"}
        elif provider == "gemini":
            assert server.seen[0].path == "/v1beta/models/m:countTokens"
            assert set(server.seen[0].json) == {"generateContentRequest"}
            assert server.seen[0].json["generateContentRequest"]["model"] == "models/m"


async def test_a_count_that_fails_is_an_error() -> None:
    async with connected("anthropic") as (llm, server):
        server.next(Answer(pieces=(json.dumps({"x": 1}).encode(),)))
        with pytest.raises(BadReply, match="count of tokens"):
            await llm.count(hello())
        server.next(Answer(status=500))
        with pytest.raises(ServerError):
            await llm.count(hello())


async def test_a_local_model_counts_as_it_reads() -> None:
    async with LLMConnection(model="tiny") as llm:
        request = LLMRequest(messages=[{"role": "user", "content": "Hello there"}], max_tokens=2)
        counted = await llm.count(request)
        assert counted == (await llm.chat_completion(request)).usage.input_tokens
