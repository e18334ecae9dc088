"""Agent of the benchmarks of modes and of the endpoint: a model that repeats its prompt at once."""

from three_mode import Agent, LLMRequest, LLMResponse, Usage, handler
from three_mode.messages import Text

AT_ONCE = 1024


class Echo(Agent):
    """Agent that repeats its prompt: it does so little that the call to it is measured."""

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo", usage=Usage(3, 4))
