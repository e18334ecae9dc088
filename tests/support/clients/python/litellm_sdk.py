"""litellm as a library: OpenAI's and Anthropic's formats."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm

said = [{"role": "user", "content": "apple"}]
ours = {"api_base": f"{sys.argv[1]}/v1", "api_key": sys.argv[2], "messages": said}
streamed = litellm.completion(model="openai/clerk", stream=True, **ours)
theirs = {**ours, "api_base": sys.argv[1]}
print(
    json.dumps(
        {
            "whole": litellm.completion(model="openai/clerk", **ours).choices[0].message.content,
            "streamed": "".join(piece.choices[0].delta.content or "" for piece in streamed),
            "messages": litellm.completion(model="anthropic/clerk", max_tokens=50, **theirs).choices[0].message.content,
        }
    )
)
