"""openai, OpenAI's SDK: chat completions, responses, text completions, models and vectors."""

import json
import sys

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
said = [{"role": "user", "content": "apple"}]
chat = client.chat.completions.create(model="clerk", messages=said)
streamed = "".join(
    chunk.choices[0].delta.content or ""
    for chunk in client.chat.completions.create(model="clerk", messages=said, stream=True)
    if chunk.choices
)
response = client.responses.create(model="clerk", input="pear")
with client.responses.stream(model="clerk", input="plum") as events:
    kinds = [event.type for event in events]
print(
    json.dumps(
        {
            "chat": chat.choices[0].message.content,
            "streamed": streamed,
            "response": response.output_text,
            "events": [kinds[0], kinds[-1]],
            "models": [model.id for model in client.models.list()],
            "model": client.models.retrieve("clerk").id,
            "vectors": len(client.embeddings.create(model="clerk", input=["a", "b"]).data),
        }
    )
)
