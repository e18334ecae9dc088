"""An endpoint for several workers: the first owns the bus and its agents, the others join it."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from three_mode import Agent, LLMRequest, Orchestrator, handler
from three_mode.agents import Joined, join
from three_mode.errors import ConfigurationError
from three_mode.serve import App, Connected

BUS = f"city-{os.getppid()}"  # the workers of one server have one parent


class Clerk(Agent):
    """Says which process it is in."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> str:
        return str(os.getpid())


@asynccontextmanager
async def on_the_bus() -> AsyncIterator[Connected]:
    async with AsyncExitStack() as stack:
        city: Orchestrator | Joined
        try:
            city = await stack.enter_async_context(Orchestrator(hosts=1, name=BUS))
            await city.spawn(Clerk, 1, name="clerk")
        except ConfigurationError:  # the bus has an owner
            city = await stack.enter_async_context(join(BUS))
            await city.bus.wait_for("clerk/0", within=30)
        yield Connected(city.llm, city.bus, models={f"worker-{os.getpid()}": "agent:clerk"})


app = App(on_the_bus)
