"""instructor: an answer of a type, by a tool and by JSON Schema."""

import json
import sys

import instructor
import openai
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
said = [{"role": "user", "content": "apple"}]
found = {}
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    made = instructor.from_openai(client, mode=mode)
    found[mode.value] = made.chat.completions.create(model="clerk", messages=said, response_model=City).model_dump()
print(json.dumps(found))
