"""The loop of a model that calls tools, whose tools are handlers of agents that die and come back."""

import asyncio
import time
from typing import Any

from tests.support.world.ledger import Ledger, Life, ledger, new_ledger
from three_mode import Agent, CommunicationMode, LLMRequest, handler
from three_mode.agents import Restart
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMRequest as Asked
from three_mode.messages import ToolResult
from three_mode.testing.script import ToolCall, Turn
from three_mode.testing.world import World, WorldFaults
from three_mode.tools import Tools

ASKERS, ROUNDS, WITHIN = 3, 3, 4.0
SLACK = 0.15  # seconds that a wait may take beyond its deadline
FAULTS = WorldFaults(kills=2, stops=1, slow=1, lossy=1, within=1.0, longest=0.5)


class Clerk(Agent):
    """Agent with the tool."""

    async def started(self) -> None:
        self.life: Life = ledger().begins(self.name)

    async def stopped(self) -> None:
        self.life.ended = True

    @handler
    async def add(self, call: int, left: int, right: int) -> int:
        """Add two numbers."""
        ledger().begins_with(call, self.life)
        await asyncio.sleep(0.02)
        return left + right


class Asker(Agent):
    """Agent that has the model work with the tool."""

    @handler
    async def work(self, number: int) -> list[str]:
        clerk = self.ref("clerk/0")
        request = LLMRequest(
            model="agent:brain", messages=[{"role": "user", "content": f"{number}"}], mode=CommunicationMode.AI_AI
        )
        reply = await self.llm.run(request, tools=Tools([clerk.tool(Clerk.add)]), most_rounds=ROUNDS + 2, within=WITHIN)
        return [reply.content, str(sum(step.kind == "tool" for step in reply.steps))]


class Brain:
    """Script of the model: some rounds of one tool call each, whose sum it passes on."""

    def __init__(self, run: Ledger) -> None:
        self.calls = 0
        self.ledger = run
        self.expected: dict[int, int] = {}

    def answer(self, request: Asked) -> Turn:
        results = [part for message in request.messages for part in parts_of(message) if isinstance(part, ToolResult)]
        if len(results) >= ROUNDS:
            return Turn(text=(f"done after {len(results)}",))
        self.calls += 1
        arguments = {"call": self.calls, "left": len(results), "right": 1}
        return Turn(text=(), tool_calls=(ToolCall("add", arguments, f"call_{self.calls}"),), finish="tool_calls")


def parts_of(message: Any) -> tuple[Any, ...]:
    """Return the parts of a message."""
    content = message.content
    return () if isinstance(content, str) else tuple(content)


async def play(world: World) -> None:
    """Program of a world: several agents work at once, under faults, and once more when they are over."""
    run = new_ledger()
    brain = Brain(run)
    world.check(run.check)
    orchestrator = world.orchestrator
    await world.model("brain", brain.answer, seconds=0.05)
    await orchestrator.spawn(Clerk, 1, name="clerk", restart=Restart("permanent", limit=50))
    askers = await orchestrator.spawn(Asker, ASKERS, name="asker", restart=Restart("permanent", limit=50))

    async def ask(number: int) -> Any:
        began = time.monotonic()
        try:
            return await askers[number % ASKERS].ask(Asker.work, number, within=WITHIN)
        except ThreeModeError as error:
            return error
        finally:
            took = time.monotonic() - began
            assert took <= WITHIN + SLACK, f"a run within {WITHIN:g} s took {took:g} s"

    results = await asyncio.gather(*(ask(number) for number in range(2 * ASKERS)))
    for result in results:
        if not isinstance(result, ThreeModeError):
            assert result == [f"done after {ROUNDS}", str(ROUNDS)], f"a run ended with {result}"
    await asyncio.sleep(max(0.0, FAULTS.within + FAULTS.longest + 0.5 - world.now))
    for _ in range(20):
        result = await ask(0)
        if not isinstance(result, ThreeModeError):
            break
        await asyncio.sleep(0.2)
    assert result == [f"done after {ROUNDS}", str(ROUNDS)], f"faults are over, and a run ends with {result!r}"
