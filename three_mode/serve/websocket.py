"""`/events`: the hub's events to one WebSocket, until it goes.

`/events?kinds=response_start,host_lost` narrows them; a kind that there is not is said, and ends it. The reader is
given nothing it must answer; what it sends is ignored.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from three_mode.errors import ConfigurationError
from three_mode.serve import guard
from three_mode.serve.asgi import AsgiExchange, Scope, Send
from three_mode.serve.events import EventHub
from three_mode.serve.options import ServeOptions
from three_mode.serve.watching import EventWatch, Receive

POLICY, TRY_LATER = 1008, 1013


async def watch_events(scope: Scope, receive: Receive, send: Send, hub: EventHub, options: ServeOptions) -> None:
    exchange = AsgiExchange(scope, receive, send, EventWatch())  # never watched: it ends by itself when its client goes
    if (await receive())["type"] != "websocket.connect":
        return
    refused = guard.refusal(options, exchange.header)
    if refused is not None or exchange.path != "/events":
        await send({"type": "websocket.close", "code": POLICY})
        return
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": guard.subprotocol(exchange.header(b"sec-websocket-protocol")),
        }
    )
    if len(hub) >= options.max_event_readers:
        await send({"type": "websocket.close", "code": TRY_LATER, "reason": "too many readers"})
        return
    try:
        reader = hub.open(_kinds(exchange.query))
    except ConfigurationError as error:
        said = {"type": "error", "data": {"message": str(error)}}  # a reason to close has room for 123 bytes
        await send({"type": "websocket.send", "text": msgspec.json.encode(said).decode()})
        await send({"type": "websocket.close", "code": POLICY, "reason": error.message[:100]})
        return
    try:
        await until_gone(receive, send, reader.get, lambda _: None)
    finally:
        hub.close(reader)


async def until_gone(
    receive: Receive,
    send: Send,
    get: Callable[[], Awaitable[bytes | None]],
    hear: Callable[[MutableMapping[str, Any]], None],
) -> None:
    """Send what `get` has, until it has no more or the client goes; `hear` is told what the client says."""

    async def pass_on() -> None:
        while (text := await get()) is not None:
            await send({"type": "websocket.send", "text": text.decode()})

    sending = asyncio.create_task(pass_on())
    try:
        while not sending.done():
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            hear(message)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def _kinds(query: bytes) -> list[str] | None:
    given = parse_qs(query.decode("latin-1")).get("kinds")
    return [kind for kind in ",".join(given).split(",") if kind] if given else None
