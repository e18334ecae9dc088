"""ASGI's lifespan: an application hears when the server starts and stops."""

import asyncio
import logging
from contextlib import suppress

from transports.http2.server.cycle import ASGI, Application, Message

log = logging.getLogger("three_mode.http2.server")


class Lifespan:
    """The two events of one application. An application that does not know them is served all the same."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answered: asyncio.Event = asyncio.Event()
        self._error: str | None = None
        self._asked = ""

    async def start(self) -> None:
        """Returns once the application has started; RuntimeError where it says that it failed."""
        self._task = asyncio.create_task(self._run())
        await self._ask("startup")
        if self._error is not None:
            raise RuntimeError(f"the application did not start: {self._error}")

    async def stop(self) -> None:
        """Returns once the application has stopped."""
        task, self._task = self._task, None
        if task is None:
            return
        if not task.done():
            self._task = task
            await self._ask("shutdown")
            self._task = None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _ask(self, event: str) -> None:
        self._answered.clear()
        self._asked = event
        self._messages.put_nowait({"type": f"lifespan.{event}"})
        await self._answered.wait()

    async def _run(self) -> None:
        try:
            scope = {"type": "lifespan", "asgi": ASGI, "state": {}}
            await self._application(scope, self._messages.get, self._send)
        except Exception:
            log.debug("the application has no lifespan", exc_info=True)
        finally:
            self._answered.set()

    async def _send(self, message: Message) -> None:
        if message["type"] == f"lifespan.{self._asked}.failed":
            self._error = message.get("message") or "it did not say why"
        if message["type"].startswith(f"lifespan.{self._asked}."):
            self._answered.set()
