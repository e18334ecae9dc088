"""pydantic-ai, over chat completions and over responses: a run with a tool, and an output of a type."""

import json
import sys

sys.path.pop(0)  # this file has the name of what it imports

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


provider = OpenAIProvider(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
found = {}
for name, kind in {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}.items():
    agent = Agent(kind("clerk", provider=provider))

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"fine in {city}"

    typed = Agent(kind("clerk", provider=provider), output_type=City)
    found[name] = [agent.run_sync("apple").output, typed.run_sync("apple").output.model_dump()]
print(json.dumps(found))
