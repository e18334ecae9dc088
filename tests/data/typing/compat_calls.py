"""Calls by the names of other systems' documents, and their types. Only mypy reads this file."""

from collections.abc import AsyncIterator
from typing import assert_type

from three_mode.compat import coda, dive, mrc, openhands


async def calls_of_coda(manager: coda.LLMManager) -> None:
    response = await manager.generate_response("Hello", provider="openai")
    assert_type(response, coda.LLMResponse)
    assert_type(manager.generate_response("Hello", stream=True), AsyncIterator[coda.LLMStreamChunk])
    async for chunk in manager.continue_conversation(response.conversation_id, "Go on", stream=True):
        assert_type(chunk.delta, str)
    try:
        await manager.generate_response(1)  # E: call-overload
    except coda.LLMRateLimitError as error:
        assert_type(error.retry_after, float | None)
    coda.ProviderConfig(provider=coda.LLMProvider.OPENAI)  # E: call-arg


def calls_of_mrc(llm: mrc.LLMCommunication) -> None:
    assert_type(llm.generate_text("Hello"), str)
    response = llm.generate_response([{"role": "user", "content": "Hello"}])
    assert_type(response, mrc.LLMResponse)
    assert_type(response.usage.to_dict(), dict[str, int])
    for piece in llm.generate_stream([{"role": "user", "content": "Hello"}]):
        assert_type(piece, str)
    llm.generate_text(["Hello"])  # E: arg-type


async def calls_of_openhands(llm: openhands.StreamingLLM) -> None:
    assert_type(await llm.async_completion(messages=[{"role": "user", "content": "Hello"}]), openhands.ModelResponse)
    async for chunk in llm.async_streaming_completion(messages=[{"role": "user", "content": "Hello"}]):
        assert_type(chunk, openhands.ModelResponse)
    openhands.LLMConfig()  # E: call-arg


async def calls_of_dive(llm: dive.LLMConnection) -> None:
    request = dive.LLMRequest(
        model="m", messages=[{"role": "user", "content": "Hello"}], mode=dive.CommunicationMode.AI_AI
    )
    assert_type(await llm.chat_completion(request), dive.LLMResponse)
