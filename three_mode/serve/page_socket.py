"""`/page/live`: what a page looks at, to one WebSocket, until it goes.

page   {"kind": "look", "at": ["map", "events"], "agent": "scout/7"}
here   {"kind": "hello", ...}, {"kind": "table", ...}, {"kind": "change", ...}, {"kind": "gap", "count": 3}
"""

import contextlib
from collections.abc import MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.serve import guard
from three_mode.serve.asgi import AsgiExchange, Scope, Send
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.live_page import live_page
from three_mode.serve.watching import EventWatch, Receive
from three_mode.serve.websocket import until_gone

POLICY, TRY_LATER = 1008, 1013
PATH = "/page/live"


class Look(Struct, frozen=True, tag_field="kind", tag="look"):
    """What a page looks at from now on."""

    at: tuple[str, ...] = ()
    agent: str | None = None


_look = msgspec.json.Decoder(Look)


async def live_socket(scope: Scope, receive: Receive, send: Send, endpoint: EndpointState) -> None:
    exchange = AsgiExchange(scope, receive, send, EventWatch())  # never watched: it ends by itself when its client goes
    if (await receive())["type"] != "websocket.connect":
        return
    holds = guard.session_for(endpoint.sessions.holds, "", exchange.path, exchange.header)
    if guard.refusal(endpoint.options, exchange.header, holds) is not None or endpoint.page is None:
        await send({"type": "websocket.close", "code": POLICY})
        return
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": guard.subprotocol(exchange.header(b"sec-websocket-protocol")),
        }
    )
    page = endpoint.shared(live_page)
    reader = page.feed.open()
    if reader is None:
        await send({"type": "websocket.close", "code": TRY_LATER, "reason": "too many pages look on"})
        return

    def hear(message: MutableMapping[str, Any]) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # of what else it says, nothing is understood here
            look = _look.decode(message.get("text") or message.get("bytes") or b"")
            page.feed.look(reader, look.at, look.agent or "")

    try:
        reader.put(msgspec.json.encode({"kind": "hello", **await page.about()}))
        await until_gone(receive, send, reader.get, hear)
    finally:
        page.feed.close(reader)
