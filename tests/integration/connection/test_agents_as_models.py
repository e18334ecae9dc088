"""Agents that are models answer with text, dicts and replies, whole and streamed; what is no answer has a name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.errors import BadResult, NoSuchAgent, StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, Finish, Text, TextDelta

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWERS: dict[str, Any] = {
    "text": "noted",
    "dict": {"content": "noted"},
    "message": {"role": "assistant", "content": "noted"},
    "choice": {"choices": [{"message": {"content": "noted"}, "finish_reason": "stop"}]},
    "nothing": None,
    "wrong": {"answer": "noted"},
}


class Clerk(Agent):
    """Answers with what it was made with."""

    def __init__(self, way: str) -> None:
        self.way = way

    @handler
    async def chat_completion(self, request: LLMRequest) -> Any:
        if self.way == "reply":
            return LLMResponse(parts=(Text("noted"),), model="m")
        return ANSWERS[self.way]


class Typed(Agent):
    """Says in its hint that it answers with text."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> str:
        return "noted"


class Reciter(Agent):
    """Only streams."""

    def __init__(self, way: str = "texts") -> None:
        self.way = way

    @handler
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[Any]:
        pieces: list[Any] = ["no", "", "ted"]
        if self.way == "chunks":
            pieces = [TextDelta("no"), [TextDelta("ted")], [Finish(reason="length")]]
        elif self.way == "wrong":
            pieces = ["no", {"content": "ted"}]
        for piece in pieces:
            yield piece


class Silent(Agent):
    """Is no model."""

    @handler
    async def ask(self) -> str:
        return ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llm() -> AsyncIterator[LLMConnection]:
    async with Orchestrator(hosts=1) as orc:
        for kind in ("reply", *ANSWERS):
            await orc.spawn(Clerk, name=kind, way=kind)
        await orc.spawn(Typed, name="typed")
        for kind in ("texts", "chunks", "wrong"):
            await orc.spawn(Reciter, name=f"stream-{kind}", way=kind)
        await orc.spawn(Silent, name="silent")
        async with LLMConnection(bus=orc.bus) as connection:
            yield connection


def asked(name: str) -> LLMRequest:
    return LLMRequest(model=f"agent:{name}", messages=[{"role": "user", "content": "three chairs"}])


@pytest.mark.parametrize("name", ["reply", "text", "dict", "message", "choice", "typed", "stream-texts"])
async def test_every_answer_is_a_reply(llm: LLMConnection, name: str) -> None:
    for _ in range(3):  # the normal way, and then the fast path
        reply = await llm.chat_completion(asked(name))
        assert (reply.content, reply.provider, reply.finish_reason) == ("noted", "agent", "stop")
        async with llm.stream(asked(name)) as stream:
            pieces = [chunk.text async for chunk in stream]
        assert "".join(pieces) == "noted"
        assert stream.response().finish_reason == "stop"
        assert stream.response().content == "noted"


async def test_an_agent_that_streams_chunks_says_its_own_end(llm: LLMConnection) -> None:
    reply = await llm.chat_completion(asked("stream-chunks"))
    assert (reply.content, reply.finish_reason) == ("noted", "length")
    chunks: list[Chunk] = [chunk async for chunk in llm.stream(asked("stream-chunks"))]
    assert [type(chunk) for chunk in chunks] == [TextDelta, TextDelta, Finish]


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "nothing is no answer of a model"), ("wrong", "a dict with 'answer' is no answer of a model")],
)
async def test_what_is_no_answer_is_an_error_that_names_the_agent(llm: LLMConnection, name: str, said: str) -> None:
    for _ in range(2):
        for call in (llm.chat_completion(asked(name)), llm.stream(asked(name)).text()):
            with pytest.raises(BadResult, match=said) as caught:
                await call
            assert name in (caught.value.agent or "")
            assert caught.value.handler == "chat_completion"


async def test_a_piece_that_is_none_breaks_the_stream(llm: LLMConnection) -> None:
    with pytest.raises(StreamInterrupted, match="streamed something else"):
        await llm.stream(asked("stream-wrong")).text()
    with pytest.raises(ThreeModeError, match="streamed something else"):
        await llm.chat_completion(asked("stream-wrong"))


async def test_an_agent_that_is_no_model(llm: LLMConnection) -> None:
    for _ in range(2):
        for call in (llm.chat_completion(asked("silent")), llm.stream(asked("silent")).text()):
            with pytest.raises(NoSuchAgent, match="is no model"):
                await call
        with pytest.raises(NoSuchAgent, match="no agent 'nobody' is on the bus"):
            await llm.chat_completion(asked("nobody"))
