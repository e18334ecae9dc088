"""Let a model call agents: their handlers are its tools, run side by side and held to limits."""

import asyncio
import time

from rich.console import Console

from three_mode import Agent, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Text, ToolCall, ToolResult
from three_mode.tools import ToolFinished, Tools, ToolStarted

QUESTION = "What time is it, what's 2+2, and what is in the vault?"


class Clock(Agent):
    @handler
    async def get_time(self) -> str:
        """The time now."""
        await asyncio.sleep(0.1)  # as if it were work
        return time.strftime("%H:%M")


class Calculator(Agent):
    @handler
    async def add(self, a: int, b: int) -> int:
        """The sum of two numbers."""
        await asyncio.sleep(0.1)
        return a + b


class Planner(Agent):
    """In place of a model: calls three tools at once, and answers with what it reads."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
        if results:
            return LLMResponse(parts=(Text("; ".join(f"{each.name}: {each.content}" for each in results)),))
        calls = (
            ToolCall("a", "get_time"),
            ToolCall("b", "add", {"a": 2, "b": 2}),
            ToolCall("c", "open_vault", {"code": "1234"}),
        )
        return LLMResponse(parts=calls, finish_reason="tool_calls")


def open_vault(code: str) -> str:
    """What is in the vault."""
    raise RuntimeError("nobody gets here")


async def approve(call: ToolCall) -> bool | str:
    """Say no to one of the tools."""
    return "the vault stays closed" if call.name == "open_vault" else True


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        (clock,) = await orc.spawn(Clock, 1, name="clock")
        (calculator,) = await orc.spawn(Calculator, 1, name="calculator")
        await orc.spawn(Planner, 1, name="planner")
        offered = Tools(
            [clock.tool(Clock.get_time), calculator.tool(Calculator.add), open_vault], approve=approve, each_within=5
        )
        request = LLMRequest(model="agent:planner", messages=[{"role": "user", "content": QUESTION}])
        async with orc.llm.run_stream(request, offered, within=20) as events:
            async for event in events:
                if isinstance(event, ToolStarted):
                    console.print(f"calls {event.call.name} {event.call.arguments}")
                elif isinstance(event, ToolFinished):
                    console.print(f"{event.outcome.status}: {event.outcome.call.name}")
        reply = events.response()
        console.print(f"{reply.content} ({reply.ended} after {reply.rounds} rounds)")


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
