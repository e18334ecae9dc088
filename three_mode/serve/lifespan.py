"""ASGI's lifespan: what the endpoint hands out is opened when its server starts, and closed when it stops."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from three_mode.serve.asgi import Send
from three_mode.serve.backend import Backend
from three_mode.serve.watching import Receive

log = logging.getLogger("three_mode.serve")
#: Opens a backend in the process and loop of the server, which is where it is used.
OpenBackend = Callable[[], AbstractAsyncContextManager[Backend]]


async def run_lifespan(
    receive: Receive,
    send: Send,
    opening: OpenBackend | None,
    use: Callable[[Backend], None],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Answers the server's two events. A backend that cannot be opened is a start that failed, with the reason. At the
    end `close` is called before the backend is closed."""
    async with AsyncExitStack() as stack:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    if opening is not None:
                        use(await stack.enter_async_context(opening()))
                except Exception as error:
                    log.exception("what the endpoint hands out could not be opened")
                    await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                    return
                stack.push_async_callback(close)
            elif message["type"] == "lifespan.shutdown":
                await stack.aclose()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
