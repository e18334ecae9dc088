"""Agents that tests ask by A2A."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from three_mode import Agent, LLMRequest, handler
from three_mode.a2a import A2AAnswer, A2APart, A2ATurn, NeedsInput, Rejected


class Clerk(Agent):
    """Books trips.

    It wants to know where to.
    """

    @handler(a2a=True, concurrent=64)
    async def book(self, turn: A2ATurn) -> Any:
        """Book a trip."""
        said = " ".join([*(message.text for message in turn.history), turn.text])
        if "moon" in turn.text:
            return Rejected("nobody flies there")
        if "data" in turn.text:
            return {"city": "Rome"}
        if "files" in turn.text:
            return A2AAnswer(
                (A2APart(raw=b"\x00ticket", media_type="image/png"), A2APart(text="a ticket")), name="ticket"
            )
        if "nothing" in turn.text:
            return A2AAnswer((A2APart(data=[1, "two"]),))
        if "to " not in said:
            return NeedsInput("Where to?", {"field": "city"})
        return f"booked: {said}"


class Narrator(Agent):
    """Tells stories, word by word."""

    @handler(a2a=True, concurrent=64)
    async def tell_story(self, text: str) -> AsyncIterator[Any]:
        for word in ("once", "upon", text):
            yield word + " "
        if text == "fail":
            raise ValueError("the pen broke")
        if text == "more":
            yield NeedsInput("Go on?")
        yield {"words": 3}


class Sleeper(Agent):
    """Writes to a file for ever, so that a test sees when it has stopped."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    @handler(a2a=True, concurrent=20_000)
    async def work(self, text: str) -> str:
        if text == "die":
            os._exit(9)
        with self.path.open("a") as file:
            try:
                while True:
                    file.write(f"{text}\n")
                    file.flush()
                    await asyncio.sleep(0.01)
            finally:
                file.write("stopped\n")


class Waiter(Agent):
    """Works on a task until its time is over, and costs nothing meanwhile."""

    @handler(a2a=True, concurrent=20_000)
    async def wait(self, text: str) -> str:
        await asyncio.sleep(60)
        return text


class Parrot(Agent):
    """Repeats what it hears."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> str:
        return " | ".join(f"{message.role}: {message.text}" for message in request.messages)


class Twofold(Agent):
    """Has two handlers, so that a message has to say which."""

    @handler(a2a=True)
    def left(self, text: str) -> str:
        return f"left {text}"

    @handler(a2a=True)
    def right(self, text: str) -> str:
        return f"right {text}"

    @handler
    def hidden(self, text: str) -> str:
        return f"hidden {text}"
