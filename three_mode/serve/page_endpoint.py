"""A small endpoint on loopback for one page: `orc.page()` and `three-mode watch` open it.

It has a key of its own, made for this start. The address has it in its fragment, which browsers send nowhere: the page
gives it once, for a cookie.
"""

import secrets
import socket
from contextlib import AsyncExitStack
from typing import Any, Self

from three_mode.conversations import Conversations
from three_mode.errors import ConfigurationError
from three_mode.page.content import PageContent
from three_mode.serve.app import App
from three_mode.serve.backend import AgentVerbs, Backend
from three_mode.serve.connected import Connected
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.options import ServeOptions
from three_mode.serve.server import serve

__all__ = ["PageContent", "PageEndpoint"]

HOST = "127.0.0.1"
_TRIES = 5  # ports that may be taken at the moment between finding one free and listening there


class PageEndpoint:
    """The page, and the paths that it asks: also those of models and agents, so that one can talk to them."""

    def __init__(self, app: App, address: str, stack: AsyncExitStack) -> None:
        self.app, self.address, self._stack = app, address, stack

    @classmethod
    async def open(cls, content: PageContent, llm: Any, agents: AgentVerbs | None = None, port: int = 0) -> Self:
        """Listen. `llm`: the connection that answers what is said on the page. `port`: 0 is any free one."""
        key = secrets.token_urlsafe(24)
        for left in reversed(range(1 if port else _TRIES)):
            options = ServeOptions(host=HOST, port=port or _free_port(), api_keys=frozenset({key}), drain_within=1.0)
            stack = AsyncExitStack()
            try:
                backend: Backend = Connected(llm, content.bus)
                if content.talks:
                    talks = await stack.enter_async_context(Conversations(content.talks, llm))
                    backend = ConversationBackend(Connected(llm, content.bus), talks, lists=True)
                app = App(backend, options, agents=agents, page=content)
                await stack.enter_async_context(serve(app))
            except ConfigurationError:
                await stack.aclose()
                if not left:
                    raise
                continue
            except BaseException:
                await stack.aclose()
                raise
            return cls(app, f"http://{HOST}:{options.port}/#key={key}", stack)
        raise AssertionError("the last try has returned or raised")

    async def close(self) -> None:
        """Listen no longer; pages that look on see their connection end."""
        await self._stack.aclose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
