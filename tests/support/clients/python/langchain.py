"""langchain-openai: asked, streamed, with a tool, and held to a schema."""

import json
import sys

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


model = ChatOpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2], model="clerk")
called = model.bind_tools([weather]).invoke("apple").tool_calls[0]
print(
    json.dumps(
        {
            "asked": model.invoke("apple").content,
            "streamed": "".join(piece.content for piece in model.stream("apple")),
            "tool": [called["name"], called["args"]],
            "schema": model.with_structured_output(City).invoke("apple").model_dump(),
        }
    )
)
