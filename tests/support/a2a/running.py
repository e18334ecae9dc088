"""An endpoint with agents of a bus behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, Orchestrator
from three_mode.serve import App, Connected, ServeOptions, serve


@dataclass
class Running:
    """The endpoint and its bus."""

    orc: Orchestrator
    app: App
    url: str
    log: Path = Path()  # what a sleeper writes

    def agent(self, name: str) -> str:
        """Where an agent is asked."""
        return f"{self.url}/a2a/{name}"


@asynccontextmanager
async def running(*kinds: type[Agent], hosts: int = 1, **options: Any) -> AsyncIterator[Running]:
    """An endpoint with one agent of each class."""
    port = free_port()
    async with Orchestrator(hosts=hosts) as orc:
        for kind in kinds:
            await orc.spawn(kind)
        async with LLMConnection(mode="ai_ai", bus=orc.bus) as llm:
            app = App(Connected(llm, orc.bus), ServeOptions(port=port, **options), agents=orc)
            async with serve(app):
                yield Running(orc, app, f"http://127.0.0.1:{port}")


def message(text: str, **fields: Any) -> dict[str, Any]:
    """Parameters of SendMessage."""
    return {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **fields}}
