"""A local model's answer for whoever passes it on, without the policies of a connection."""

import threading
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.agents.until import until
from three_mode import LLMConnection, LLMRequest
from three_mode.channels.local.channel import LocalChannel
from three_mode.connection import ConnectionOptions
from three_mode.errors import DeadlineExceeded, UnsupportedParameter
from three_mode.messages import Chunk, Finish, Start, TextDelta, fold


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
        passed_on = await llm.local_model("tiny")
        assert passed_on is not None
        made = [chunk async for batch in passed_on(asked, "tiny", 20.0) for chunk in batch]
        assert type(made[-1]) is Finish
        assert fold(made).content == (await llm.chat_completion(asked.addressed("tiny", 20.0))).content != ""
        assert await llm.local_model("gpt-4o") is None


async def test_a_configured_limit_of_tokens_holds() -> None:
    async with LLMConnection(options=ConnectionOptions(config={"max_tokens": 3})) as llm:
        passed_on = await llm.local_model("tiny")
        assert passed_on is not None
        made = [chunk async for batch in passed_on(request(), "tiny", 20.0) for chunk in batch]
        assert fold(made).usage.output_tokens == 3


async def test_its_deadline_is_the_engines() -> None:
    async with LLMConnection() as llm:
        passed_on = await llm.local_model("tiny")
        assert passed_on is not None
        with pytest.raises(DeadlineExceeded):
            async for _ in passed_on(request(), "tiny", 1e-6):
                pass


class Taken:
    """A way out that takes so many parts from other threads than the loop's, and the rest when the loop brings them."""

    def __init__(self, at_once: int) -> None:
        self.room, self.loop_thread = at_once, threading.get_ident()
        self.by_engine: list[Chunk] = []
        self.by_loop: list[Chunk] = []

    def at_once(self, part: list[Chunk]) -> bool:
        assert threading.get_ident() != self.loop_thread
        if self.room <= 0:
            return False
        self.room -= 1
        self.by_engine += part
        return True

    async def send(self, part: list[Chunk]) -> None:
        assert threading.get_ident() == self.loop_thread
        self.by_loop += part


@pytest.mark.parametrize("room", [0, 1, 3, 1000])
async def test_the_engines_thread_passes_on_what_it_can_and_the_loop_the_rest(room: int) -> None:
    channel = LocalChannel()
    try:
        await channel.load("tiny")
        parts = Taken(room)
        flow = channel.flow("tiny", request(max_tokens=60), 20.0, parts)
        assert flow is not None
        await flow
        made = parts.by_engine + parts.by_loop
        assert (not parts.by_engine, not parts.by_loop) == (room == 0, room == 1000)
        assert (type(made[0]), type(made[-1])) == (Start, Finish)
        assert [type(chunk) for chunk in made].count(Start) == 1
        whole = [c async for batch in channel.batches("tiny", request(max_tokens=60), 20.0) for c in batch]
        assert fold(made).content == fold(whole).content != ""
        assert fold(made).usage.output_tokens == 60
        assert channel._pool._places["tiny"].users == 0
    finally:
        await channel.close()


@pytest.mark.parametrize("room", [0, 1000])
async def test_cancelling_what_flows_ends_the_call_in_the_engine(room: int) -> None:
    channel = LocalChannel()
    try:
        await channel.load("tiny")
        parts = Taken(room)
        flow = channel.flow("tiny", request(), 20.0, parts)
        assert flow is not None
        await until(lambda: bool(parts.by_engine or parts.by_loop))
        flow.cancel()
        async with channel._pool.use("tiny") as model:

            async def rests() -> bool:
                return (await model.statistics()).running == 0

            await until(rests)
            assert (await model.statistics()).cancelled == 1
        assert channel._pool._places["tiny"].users == 0
    finally:
        await channel.close()


async def test_what_cannot_begin_at_once_does_not_flow() -> None:
    channel = LocalChannel()
    try:
        parts = Taken(1000)
        assert channel.flow("tiny", request(), 20.0, parts) is None, "it is not loaded"
        await channel.load("tiny")
        tool = {"name": "add", "description": "", "parameters": {"type": "object"}}
        assert channel.flow("tiny", request(tools=[tool]), 20.0, parts) is None, "text may become a call"
        assert channel.flow("tiny", request("word " * 10_000), 20.0, parts) is None, "a long prompt"
        with pytest.raises(UnsupportedParameter):
            channel.flow("tiny", request(extra={"nosuch": 1}), 20.0, parts)
        assert channel._pool._places["tiny"].users == 0
    finally:
        await channel.close()
