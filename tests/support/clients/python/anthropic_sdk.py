"""anthropic, Anthropic's SDK: messages, streamed too, tools, and the count of tokens."""

import json
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key=sys.argv[2])
said = [{"role": "user", "content": "apple"}]
whole = client.messages.create(model="clerk", max_tokens=50, messages=said)
with client.messages.stream(model="clerk", max_tokens=50, messages=said) as stream:
    streamed = "".join(stream.text_stream)
tool = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
called = client.messages.create(model="clerk", max_tokens=50, messages=said, tools=[tool])
print(
    json.dumps(
        {
            "whole": whole.content[0].text,
            "streamed": streamed,
            "tool": [called.stop_reason, called.content[0].name, called.content[0].input],
            "counted": client.messages.count_tokens(model="clerk", messages=said).input_tokens > 0,
        }
    )
)
