"""smolagents: an agent that calls a tool and ends with its answer."""

import json
import sys

from smolagents import OpenAIModel, ToolCallingAgent, tool


@tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return f"fine in {city}"


model = OpenAIModel("clerk", api_base=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
agent = ToolCallingAgent(tools=[weather], model=model, verbosity_level=0, max_steps=4)
print(json.dumps({"answer": "fine in Paris" in str(agent.run("apple"))}))
