"""A local model's answer for whoever passes it on, without the policies of a connection."""

from contextlib import aclosing
from typing import Any

import pytest

from tests.support.agent_until import until
from three_mode import LLMConnection, LLMRequest
from three_mode.channels.ai_pc import LocalChannel
from three_mode.connection import ConnectionOptions
from three_mode.errors import DeadlineExceeded
from three_mode.messages import Finish, Start, TextDelta, fold


def request(text: str = "Count from 1 to 50.", **fields: Any) -> LLMRequest:
    return LLMRequest(messages=[{"role": "user", "content": text}], temperature=0, **fields)


async def test_closing_it_ends_the_call_in_the_engine_and_lets_the_model_go() -> None:
    channel = LocalChannel()
    try:
        async with aclosing(channel.batches("tiny", request(), 20.0)) as batches:
            first = await anext(batches)
        assert [type(chunk) for chunk in first[:2]] == [Start, TextDelta]
        async with channel._pool.use("tiny") as model:

            async def rests() -> bool:
                return (await model.statistics()).running == 0

            await until(rests)
            found = await model.statistics()
        assert (found.cancelled, found.finished) == (1, 0)
        assert channel._pool._places["tiny"].users == 0, "nobody holds the model any more"
    finally:
        await channel.close()


async def test_it_says_what_a_stream_of_a_connection_says() -> None:
    async with LLMConnection() as llm:
        asked = request("Repeat: apple", max_tokens=24)
        passed_on = await llm.local("tiny")
        assert passed_on is not None
        made = [chunk async for batch in passed_on(asked, "tiny", 20.0) for chunk in batch]
        assert type(made[-1]) is Finish
        assert fold(made).content == (await llm.chat_completion(asked.addressed("tiny", 20.0))).content != ""
        assert await llm.local("gpt-4o") is None


async def test_a_configured_limit_of_tokens_holds() -> None:
    async with LLMConnection(options=ConnectionOptions(config={"max_tokens": 3})) as llm:
        passed_on = await llm.local("tiny")
        assert passed_on is not None
        made = [chunk async for batch in passed_on(request(), "tiny", 20.0) for chunk in batch]
        assert fold(made).usage.output_tokens == 3


async def test_its_deadline_is_the_engines() -> None:
    async with LLMConnection() as llm:
        passed_on = await llm.local("tiny")
        assert passed_on is not None
        with pytest.raises(DeadlineExceeded):
            async for _ in passed_on(request(), "tiny", 1e-6):
                pass
