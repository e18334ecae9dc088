"""openai-agents, over responses and over chat completions: a run with a tool, whole and streamed."""

import asyncio
import json
import sys

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


async def main() -> None:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
    found = {}
    for name, kind in {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}.items():
        agent = Agent(name="helper", model=kind("clerk", client), tools=[weather])
        whole = await Runner.run(agent, "apple")
        streamed = Runner.run_streamed(agent, "apple")
        async for _ in streamed.stream_events():
            pass
        found[name] = [whole.final_output, streamed.final_output]
    print(json.dumps(found))


asyncio.run(main())
