"""Agents of the tests of the page, in a module that hosts can import."""

import asyncio
import logging
from typing import Any

from three_mode.agents import Agent, handler, on


class Scout(Agent):
    """Scores texts, waits when asked to, fails when asked to, and asks others."""

    def __init__(self) -> None:
        self.seen = 0

    @handler
    async def score(self, text: str) -> float:
        if text.startswith("fail"):
            raise ValueError(text)
        return float(len(text))

    @handler
    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"

    @handler
    async def pass_on(self, to: str, text: str) -> float:
        return float(await self.ref(to).ask("score", text, within=5.0))

    @handler
    async def say(self, level: int, text: str) -> None:
        logging.getLogger("scouts.voice").log(level, text)

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1
        if item.get("fail"):
            raise ValueError(str(item["fail"]))
