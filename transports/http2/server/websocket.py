"""A WebSocket (RFC 6455) on a connection that began as HTTP/1.1; the protocol itself is wsproto's."""

import asyncio
import binascii
import logging
from base64 import b64decode, b64encode
from collections import deque
from hashlib import sha1
from typing import Any

from transports.http2.request import Header
from transports.http2.server.connection import AcceptedConnection, OwningServer
from transports.http2.server.cycle import ASGI, Application, Message
from transports.http2.server.h1_response import refusal, response_head
from transports.http2.server.head import BadRequest, RequestHead
from transports.http2.server.waiting import Waiters

log = logging.getLogger("three_mode.http2.server")

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GOING_AWAY, ABNORMAL, TOO_BIG, FAILED = 1001, 1006, 1009, 1011
MOST_UNREAD = 32  # messages that wait for the application before the client has to
CLOSE_WITHIN = 2.0  # seconds for a client to answer a close


def handshake(head: RequestHead) -> bytes:
    """The client's key; BadRequest where the request is no handshake that is understood here."""
    try:
        import wsproto  # noqa: F401
    except ImportError:
        raise BadRequest(501, "WebSockets need the package wsproto") from None
    given = [value for name, value in head.headers if name == b"sec-websocket-key"]
    version = [value for name, value in head.headers if name == b"sec-websocket-version"]
    if head.method != "GET" or head.has_body or len(given) != 1:
        raise BadRequest(400, "a WebSocket begins with GET, without a body, and with one key")
    if version != [b"13"]:
        raise BadRequest(426, "the version of WebSocket here is 13")
    try:
        if len(b64decode(given[0], validate=True)) != 16:
            raise BadRequest(400, "the WebSocket's key has 16 bytes")
    except binascii.Error:
        raise BadRequest(400, "the WebSocket's key is malformed") from None
    return given[0]


class WebSocketConnection(AcceptedConnection):
    """asyncio on one side, an ASGI application on the other."""

    def __init__(self, server: OwningServer, head: RequestHead, key: bytes) -> None:
        from wsproto.connection import Connection as Protocol
        from wsproto.connection import ConnectionType

        super().__init__(server)
        self._protocol = Protocol(ConnectionType.SERVER)
        self._head, self._key = head, key
        self._task: asyncio.Task[None] | None = None
        self._messages: deque[Message] = deque(({"type": "websocket.connect"},))
        self._readable = Waiters(self.loop)
        self._writable = Waiters(self.loop)
        self._accepted = False
        self._over = False  # nothing more is sent
        self._held = b""  # what came before the application accepted
        self._parts: list[Any] = []
        self._size = 0
        self._pinged = False

    # The server's side

    def retire(self) -> None:
        self._say_close(GOING_AWAY, "")
        self._told_disconnect(GOING_AWAY)

    def timed_out(self, now: float) -> None:
        if self._over or self._pinged or not self._accepted:
            self.abort()
            return
        from wsproto.events import Ping

        self._pinged = True
        self._send(Ping())
        self.set_deadline(now + self.options.websocket_ping_every)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.server.busy(self)
        self._task = self.loop.create_task(self._run(self.server.application))
        self.server.running.add(self._task)
        self._task.add_done_callback(self.server.running.discard)

    def data_received(self, data: bytes) -> None:
        if self.lingering or self._over:
            self.discard(len(data))
            if not self.lingering:
                self._feed(data)
            return
        if not self._accepted:
            self._held += data
            if len(self._held) > self.options.websocket_message_bytes:
                self.abort()
            return
        self._pinged = False
        if self.writable:
            self.deadline = self.loop.time() + self.options.websocket_ping_every
        self._feed(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._told_disconnect(ABNORMAL)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.set_deadline(self.loop.time() + self.options.websocket_ping_every)
        if len(self._messages) < MOST_UNREAD:
            self.resume_reading()
        self._writable.wake()

    # Frames

    def _feed(self, data: bytes) -> None:
        from wsproto import events
        from wsproto.utilities import RemoteProtocolError

        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                if isinstance(event, events.Message):
                    self._on_message(event)
                elif isinstance(event, events.Ping):
                    self._send(event.response())
                elif isinstance(event, events.CloseConnection):
                    self._on_close(event)
                    return
        except RemoteProtocolError as error:
            self._say_close(int(getattr(error, "code", None) or 1002), "")
            self._told_disconnect(1002)
        except Exception:  # noqa: BLE001 - wsproto ends its own protocol in several ways; a closed one has nothing to say
            self.abort()

    def _on_message(self, event: Any) -> None:
        self._parts.append(event.data)
        self._size += len(event.data)
        if self._size > self.options.websocket_message_bytes:
            self._parts.clear()
            self._say_close(TOO_BIG, "")
            self._told_disconnect(TOO_BIG)
            return
        if not event.message_finished:
            return
        if isinstance(event.data, str):
            self._tell({"type": "websocket.receive", "text": "".join(self._parts), "bytes": None})
        else:
            self._tell({"type": "websocket.receive", "text": None, "bytes": b"".join(self._parts)})
        self._parts.clear()
        self._size = 0
        if len(self._messages) >= MOST_UNREAD:
            self.pause_reading()

    def _on_close(self, event: Any) -> None:
        if not self._over:
            self._send(event.response())
            self._over = True
        self._told_disconnect(event.code)
        self.close()

    def _say_close(self, code: int, reason: str) -> None:
        from wsproto.events import CloseConnection

        if self._over or not self._accepted:
            return
        self._send(CloseConnection(code=code, reason=reason))
        self._over = True
        self.set_deadline(self.loop.time() + CLOSE_WITHIN)
        self.resume_reading()  # for the client's answer

    def _send(self, event: Any) -> None:
        if self.transport is not None and not self.closing:
            self.transport.write(self._protocol.send(event))

    # The application's side

    async def _run(self, application: Application) -> None:
        scope = {
            "type": "websocket",
            "asgi": ASGI,
            "http_version": self._head.http_version,
            "scheme": "wss" if self.scheme == "https" else "ws",
            "path": self._head.path,
            "raw_path": self._head.raw_path,
            "query_string": self._head.query,
            "root_path": "",
            "headers": self._head.headers.copy(),
            "client": self.client,
            "server": self.address,
            "subprotocols": _subprotocols(self._head.headers),
            "extensions": {},
        }
        try:
            await application(scope, self._receive, self._send_message)
        except asyncio.CancelledError:
            self._finish(GOING_AWAY)
            raise
        except Exception:
            log.exception("the application failed")
            self._finish(FAILED)
        else:
            self._finish(1000)

    def _finish(self, code: int) -> None:
        """The application has ended."""
        if self._accepted:
            self._say_close(code, "")
        elif not self._over:
            self._refuse(500 if code == FAILED else 403)

    async def _receive(self) -> Message:
        while not self._messages:
            await self._readable.wait()
        message = self._messages.popleft()
        if message["type"] == "websocket.disconnect":
            self._messages.append(message)  # for as often as it is asked
        elif len(self._messages) < MOST_UNREAD:
            self.resume_reading()
        return message

    async def _send_message(self, message: Message) -> None:
        kind = message["type"]
        if self._over:
            return
        if kind == "websocket.send" and self._accepted:
            from wsproto.events import BytesMessage, TextMessage

            text = message.get("text")
            self._send(TextMessage(data=text) if text is not None else BytesMessage(data=message["bytes"]))
            while not self.writable and not self._over:
                await self._writable.wait()
        elif kind == "websocket.accept" and not self._accepted:
            self._accept(message)
        elif kind == "websocket.close":
            if self._accepted:
                self._say_close(message.get("code", 1000), message.get("reason") or "")
                self._told_disconnect(message.get("code", 1000))
            else:
                self._refuse(403)
        else:
            raise RuntimeError(f"{kind} has no place here")

    def _accept(self, message: Message) -> None:
        digest = b64encode(sha1(self._key + GUID).digest())  # noqa: S324 - the protocol's own, and no secret
        headers: list[Header] = [
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", digest),
            *message.get("headers", ()),
        ]
        chosen = message.get("subprotocol")
        if chosen is not None:
            headers.append((b"sec-websocket-protocol", chosen.encode("ascii")))
        block, _, _, _ = response_head(101, headers, None, "1.1", True, True, self.server.date())
        block = block.replace(b"\r\n", b"\r\nconnection: Upgrade\r\n", 1)
        if self.transport is not None and not self.closing:
            self.transport.write(block)
        self._accepted = True
        self.set_deadline(self.loop.time() + self.options.websocket_ping_every)
        held, self._held = self._held, b""
        if held:
            self._feed(held)

    def _refuse(self, status: int) -> None:
        self._over = True
        self._told_disconnect(ABNORMAL)
        if self.transport is not None and not self.closing:
            self.transport.write(refusal(status, "the WebSocket was refused", self.server.date()))
            self.linger()

    def _told_disconnect(self, code: int) -> None:
        if not self._messages or self._messages[-1]["type"] != "websocket.disconnect":
            self._tell({"type": "websocket.disconnect", "code": code, "reason": ""})
        self._writable.wake()

    def _tell(self, message: Message) -> None:
        self._messages.append(message)
        self._readable.wake()


def _subprotocols(headers: list[Header]) -> list[str]:
    text = b",".join(value for name, value in headers if name == b"sec-websocket-protocol").decode("latin-1")
    return [word.strip() for word in text.split(",") if word.strip()]
