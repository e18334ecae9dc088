"""The agent that the benchmarks of the modes and of the endpoint ask: a model that answers at once with what it was asked."""

from three_mode import Agent, LLMRequest, LLMResponse, Usage, handler
from three_mode.messages import Text

AT_ONCE = 1024


class Echo(Agent):
    """Its own work is as little as an agent can do, so that what is measured is the way to it and back."""

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo", usage=Usage(3, 4))
