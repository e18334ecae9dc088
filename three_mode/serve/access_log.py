"""A line for each request that ended: for people, or as JSON. It has no key and nothing of what was said.

2026-11-30T20:51:33Z 127.0.0.1 POST /v1/chat/completions 200 12.3ms 512B tiny
"""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from three_mode.serve.options import ServeOptions
from three_mode.serve.proxy import PEER, caller

log = logging.getLogger("three_mode.access")
SEEN = "three_mode.seen"
"""Key of a request's scope: what its line will say. There is none while no line is written."""
MOST = 200  # characters of a path, and of a model's name
# A path may hold what names a conversation to its client alone, or a key that was put in the wrong place.
_LONG_WORD = re.compile(r"[^/]{25,}")
_KEPT = 12  # characters of such a word, by which an operator knows it again
_LEFT = 499  # the client went away before it had a status

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AccessLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request, and how it ended."""

    time: str
    """When it ended, in UTC."""
    method: str
    path: str
    status: int
    """Of HTTP; 499: the client left before it was answered. 101 for a WebSocket."""
    grpc: str | None = None
    """Of gRPC, for its calls."""
    ms: float
    """Milliseconds from its head to the end of its answer."""
    model: str = ""
    """The model that it named."""
    bytes: int
    """Of the answer's body."""
    client: str | None = None
    """The address that it came from; None: a Unix socket."""
    forwarded: str | None = None
    """The address that the proxy in front says it is for."""


class SeenRequest:
    """What is seen of a request while it is answered."""

    __slots__ = ("bytes", "grpc", "model", "started", "status")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.status, self.bytes, self.model = 0, 0, ""
        self.grpc: str | None = None

    def ended(self, status: int, model: str, grpc: str | None = None) -> None:
        """What is known once it is answered: its status, of HTTP, also of a client that left."""
        self.status, self.model, self.grpc = status or self.status, model, grpc

    def sending(self, send: _Send) -> _Send:
        """The same `send`, whose messages are looked at."""

        async def seen(message: MutableMapping[str, Any]) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                self.bytes += len(message.get("body", b""))
            elif kind == "http.response.start":
                self.status = message["status"]
            elif kind == "websocket.send":
                self.bytes += len(message.get("text") or message.get("bytes") or "")
            elif kind == "websocket.accept":
                self.status = 101
            elif kind == "websocket.close" and not self.status:
                self.status = 403  # as the server answers it
            await send(message)

        return seen


class AccessLog:
    """Writes the line of each request of an application to the logger `three_mode.access`."""

    def __init__(
        self, form: Literal["short", "json"], behind_proxy: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._written, self._behind_proxy, self._clock = (as_json if form == "json" else as_text), behind_proxy, clock

    @classmethod
    def of(cls, options: ServeOptions) -> "AccessLog | None":
        """The log that the options ask for; None: no line is written."""
        return None if options.access_log == "off" else cls(options.access_log, options.behind_proxy)

    async def answer(
        self,
        application: Callable[[_Scope, _Receive, _Send], Awaitable[None]],
        scope: _Scope,
        receive: _Receive,
        send: _Send,
    ) -> None:
        """Has the application answer, and writes the line once it has."""
        seen = scope[SEEN] = SeenRequest()
        try:
            await application(scope, receive, seen.sending(send))
        finally:
            log.info("%s", self._written(self._line(scope, seen)))

    def _line(self, scope: _Scope, seen: SeenRequest) -> AccessLine:
        peer = scope.get(PEER, scope.get("client"))
        return AccessLine(
            time=datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            method=scope.get("method", "GET"),
            path=shown_path(scope["path"]),
            status=seen.status or _LEFT,
            grpc=seen.grpc,
            ms=round((time.perf_counter() - seen.started) * 1000, 1),
            model=seen.model[:MOST],
            bytes=seen.bytes,
            client=peer[0] or None if peer else None,
            forwarded=caller(scope["headers"]) if self._behind_proxy else None,
        )


def as_text(line: AccessLine) -> str:
    """A line for people."""
    status = str(line.status) if line.grpc is None else f"{line.status}/{line.grpc}"
    words = [line.time, line.client or "-", line.method, line.path, status, f"{line.ms}ms", f"{line.bytes}B"]
    if line.model:
        words.append(line.model)
    if line.forwarded is not None:
        words += ["for", line.forwarded]
    return " ".join(map(_printable, words))


def as_json(line: AccessLine) -> str:
    """A line for programs: ASCII alone, since other characters end a line for some readers."""
    return json.dumps(msgspec.to_builtins(line), separators=(",", ":"))


def shown_path(path: str) -> str:
    """A path without the rest of its long words."""
    return _LONG_WORD.sub(lambda word: word[0][:_KEPT] + "...", path)[:MOST]


def _printable(word: str) -> str:
    """A word that begins no line of its own and moves no cursor of a terminal. Blanks part words, so it has none."""
    if word.isprintable() and " " not in word:
        return word
    return "".join(c if c.isprintable() and c != " " else f"\\x{ord(c):02x}" for c in word)
