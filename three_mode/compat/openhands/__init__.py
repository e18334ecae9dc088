"""Names of OpenHands' `openhands.llm`.

    llm = LLM(config=LLMConfig(model="gpt-4"), service_id="main")
    response = llm.completion(messages=[{"role": "user", "content": "Hello!"}])
    print(response.choices[0].message.content, llm.metrics.accumulated_cost)

Replies and chunks have OpenAI's shape, and are read as dicts or by attributes.
"""

from three_mode.compat.openhands.config import LLMConfig
from three_mode.compat.openhands.llm import LLM, AsyncLLM, StreamingLLM
from three_mode.compat.openhands.metrics import Metrics, ResponseLatency, TokenUsage
from three_mode.compat.openhands.replies import ModelResponse
from three_mode.compat.openhands.router import RouterLLM

__all__ = [
    "LLM",
    "AsyncLLM",
    "LLMConfig",
    "Metrics",
    "ModelResponse",
    "ResponseLatency",
    "RouterLLM",
    "StreamingLLM",
    "TokenUsage",
]
