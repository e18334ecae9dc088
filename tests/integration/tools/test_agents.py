"""Tools and agents: a handler as a tool, an agent as the model, and a run inside a handler."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.errors import ConfigurationError
from three_mode.messages import Text, ToolCall, ToolResult, Usage
from three_mode.tools import HandlerTool, ToolFinished, Tools, ToolStarted

QUESTION = "What time is it and what's 2+2?"


@dataclass
class Note:
    title: str
    stars: int = 1


class Scout(Agent):
    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    @handler
    async def score(self, text: str) -> float:
        """Scores a text.

        text: what to score
        """
        return len(text) + self.bias

    @handler
    async def explain(self, text: str) -> AsyncIterator[str]:
        yield "because "
        yield text

    @handler
    def keep(self, note: Note) -> str:
        return f"{note.title} {note.stars}"

    @handler
    async def breaks(self) -> None:
        raise ValueError("broken")

    @handler
    async def left(self) -> float:
        return self.remaining()


def get_time() -> str:
    """The time now."""
    return "12:30"


def calculator(expression: str) -> str:
    """Computes a sum."""
    return str(sum(map(int, expression.split("+"))))


class Brain(Agent):
    """A model: it calls two tools, and answers with their results."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        results = [
            part.content for message in request.messages for part in message.parts if isinstance(part, ToolResult)
        ]
        if results:
            return LLMResponse(parts=(Text(" and ".join(map(str, results))),), model="brain", usage=Usage(3, 2))
        calls = (ToolCall("a", "get_time"), ToolCall("b", "calculator", {"expression": "2+2"}))
        return LLMResponse(parts=calls, model="brain", finish_reason="tool_calls", usage=Usage(2, 1))


class Worker(Agent):
    """An agent that runs tools itself."""

    @handler
    async def work(self, question: str) -> tuple[str, float]:
        seen = []

        async def get_time() -> str:
            seen.append(self.remaining())
            return "12:30"

        reply = await self.llm.run(asked(question), [get_time, calculator], within=50)
        return reply.content, seen[0]


def asked(question: str = QUESTION) -> LLMRequest:
    return LLMRequest(model="agent:brain", messages=[{"role": "user", "content": question}])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orchestrator:
        await orchestrator.spawn(Brain, 1, name="brain")
        await orchestrator.spawn(Worker, 1, name="worker")
        yield orchestrator


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_handlers_are_tools(orc: Orchestrator) -> None:
    scouts = await orc.spawn(Scout, 2, name="scout", bias=0.5)
    score = scouts[1].tool(Scout.score)
    assert isinstance(score, HandlerTool)
    assert (score.name, score.description) == ("score", "Scores a text.")
    assert score.schema["properties"] == {"text": {"type": "string", "description": "what to score"}}
    assert await score.call({"text": "abc"}) == 3.5
    assert await scouts[0].tool(Scout.explain).call({"text": "why"}) == "because why"
    assert await scouts.any.tool(Scout.keep, name="keep_note").call({"note": {"title": "t", "stars": "3"}}) == "t 3"
    with pytest.raises(ConfigurationError, match="by its function"):
        scouts[0].tool("score")  # type: ignore[arg-type]


async def test_an_agent_is_the_model_and_others_are_its_tools(orc: Orchestrator) -> None:
    for streamed in (False, True):
        if streamed:
            stream = orc.llm.run_stream(asked(), [get_time, calculator])
            kinds = {type(event) async for event in stream}
            assert {ToolStarted, ToolFinished} <= kinds
            reply = stream.response()
        else:
            reply = await orc.llm.run(asked(), [get_time, calculator])
        assert reply.content == "12:30 and 4"
        assert (reply.ended, reply.rounds, reply.usage.total_tokens) == ("answer", 2, 8)


async def test_what_an_agent_refuses_is_a_result(orc: Orchestrator) -> None:
    (scout,) = await orc.spawn(Scout, 1, name="lone")
    broken = scout.tool(Scout.breaks, name="get_time")
    late = scout.tool(Scout.score, name="calculator")
    reply = await orc.llm.run(asked(), [broken, late])
    assert [outcome.status for outcome in reply.outcomes] == ["failed", "arguments"]
    assert "broken" in str(reply.outcomes[0].result.content)


async def test_an_agent_has_the_time_of_its_call(orc: Orchestrator) -> None:
    (scout,) = await orc.spawn(Scout, 1, name="timed")
    tools = Tools([scout.tool(Scout.left, name="get_time"), calculator], each_within=5)
    reply = await orc.llm.run(asked(), tools)
    assert 0 < float(str(reply.outcomes[0].result.content)) <= 5


async def test_a_run_inside_a_handler_has_the_time_of_its_call(orc: Orchestrator) -> None:
    content, remaining = await orc.ref("worker/0").ask(Worker.work, QUESTION, within=9.0)
    assert content == "12:30 and 4"
    assert 0 < remaining <= 9.0


async def test_a_connection_beside_the_orchestrator_runs_tools_too(orc: Orchestrator) -> None:
    async with LLMConnection(bus=orc.bus) as llm:
        reply = await llm.run(asked(), [get_time, calculator])
    assert reply.content == "12:30 and 4"
