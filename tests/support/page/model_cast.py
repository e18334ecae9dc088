"""Agents that models and people talk to, for tests of the page."""

import asyncio
from collections.abc import AsyncIterator

from three_mode import Agent, LLMRequest, handler
from three_mode.messages import Chunk, Finish, TextDelta, ThinkingDelta, ToolDelta, ToolResult

MARKUP = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> **bold** &amp;"


class Payer(Agent):
    """Asks what it is told to, under a label."""

    @handler
    async def pay(self, model: str, label: str | None = None) -> str:
        said = {} if label is None else {"label": label}
        request = LLMRequest(model=model, messages=[{"role": "user", "content": "Hello!"}], metadata=said, max_tokens=8)
        return (await self.llm.chat_completion(request)).content


class Speaker(Agent):
    """A model that answers with markup, thinks aloud, fails, calls a tool, or never ends, as it is told to."""

    def __init__(self) -> None:
        self.left = 0

    @handler(concurrent=8)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        last = request.messages[-1]
        if last.role == "tool":
            said = "".join(str(part.content) for part in last.parts if isinstance(part, ToolResult))
            yield TextDelta(f"The tool said {said}")
        elif last.text == "think":
            yield ThinkingDelta(MARKUP)
            yield TextDelta("thought")
        elif last.text == "fail":
            raise ValueError(MARKUP)
        elif last.text.startswith("call "):
            yield ToolDelta(0, "call_1", last.text.removeprefix("call "), '{"text": "' + "a" * 5 + '"}')
            yield Finish("tool_calls")
            return
        elif last.text == "forever":
            try:
                while True:
                    yield TextDelta("on ")
                    await asyncio.sleep(0.01)
            finally:
                self.left += 1
        else:
            yield TextDelta(MARKUP)
        yield Finish()

    @handler
    async def given_up(self) -> int:
        return self.left


class Counter(Agent):
    """Has a tool."""

    @handler(tool=True)
    async def letters(self, text: str) -> int:
        """Counts the letters of a text."""
        return len(text)
