"""Agents that ask models, for tests of the page."""

from three_mode import Agent, LLMRequest, handler


class Payer(Agent):
    """Asks what it is told to, under a label."""

    @handler
    async def pay(self, model: str, label: str | None = None) -> str:
        said = {} if label is None else {"label": label}
        request = LLMRequest(model=model, messages=[{"role": "user", "content": "Hello!"}], metadata=said, max_tokens=8)
        return (await self.llm.chat_completion(request)).content
