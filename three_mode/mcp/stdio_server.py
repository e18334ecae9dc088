"""An MCP server on standard input and output: a line a message, both eras, calls side by side."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from three_mode.mcp.eras import CANCELLED, PROGRESS, is_stateless
from three_mode.mcp.rpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    RequestId,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_failure,
    write_notification,
    write_result,
)
from three_mode.mcp.server import McpServer, progress_token

log = logging.getLogger("three_mode.mcp")
MOST_LINE = 8 << 20  # bytes of a message; a longer one is refused, and read past
MOST_AT_ONCE = 64  # calls that run side by side; one more is refused
GRACE = 1.0  # seconds that calls have when the input has ended
PIECE = 1 << 16

ReadSome = Callable[[int], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


class StdioServer:
    """One client's session, until its end of the input."""

    def __init__(self, server: McpServer, read: ReadSome, write: Write, within: float) -> None:
        """`read` gives some bytes, and none at the end. `write` returns when the client takes more. `within`: seconds
        for each call."""
        self._server, self._read, self._write, self._within = server, read, write, within
        self._running: dict[RequestId, asyncio.Task[None]] = {}
        self._told_of_changes: dict[RequestId | None, Callable[[], None]] = {}
        self._telling: dict[RequestId | None, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Answers until the input ends; then cancels what runs on after a moment."""
        try:
            async for line in self._lines():
                if line is None:
                    await self._refuse(RpcFailure(INVALID_REQUEST, f"a message has more than {MOST_LINE} bytes"))
                elif line.strip():
                    await self._take(line)
            if self._running:
                await asyncio.wait(self._running.values(), timeout=GRACE)
        finally:
            for stop in self._told_of_changes.values():
                stop()
            tasks = [*self._running.values(), *self._telling.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _lines(self) -> Any:
        """Lines without their ends; None for one that is too long, whose rest is thrown away."""
        buffer, skipping = bytearray(), False
        while piece := await self._read(PIECE):
            *ends, rest = piece.split(b"\n")
            for end in ends:
                if not skipping:
                    buffer += end
                    yield bytes(buffer) if len(buffer) <= MOST_LINE else None
                buffer.clear()
                skipping = False
            if not skipping:
                buffer += rest
                if len(buffer) > MOST_LINE:
                    buffer.clear()
                    skipping = True
                    yield None
        if buffer and not skipping:
            yield bytes(buffer)

    async def _take(self, line: bytes) -> None:
        try:
            message = read_message(line)
        except RpcFailure as failure:
            await self._refuse(failure)
            return
        if isinstance(message, RpcRequest):
            await self._begin(message)
        elif isinstance(message, RpcNotification):
            self._heed(message)
        # An answer is to nothing that this server asked.

    async def _begin(self, request: RpcRequest) -> None:
        if request.id in self._running or request.id in self._told_of_changes:
            await self._refuse(RpcFailure(INVALID_REQUEST, f"the id {request.id!r} is that of a request that runs"))
        elif len(self._running) >= MOST_AT_ONCE:
            await self._refuse(RpcFailure(INTERNAL_ERROR, f"{MOST_AT_ONCE} calls run already"), request.id)
        else:
            task = asyncio.get_running_loop().create_task(self._answer(request))
            self._running[request.id] = task
            task.add_done_callback(lambda _: self._running.pop(request.id, None))

    def _heed(self, message: RpcNotification) -> None:
        if message.method == CANCELLED:
            number = message.params.get("requestId")
            if isinstance(number, int | str):
                task = self._running.get(number)
                if task is not None:
                    task.cancel()
                stop = self._told_of_changes.pop(number, None)
                if stop is not None:
                    stop()
        elif message.method == "notifications/initialized" and None not in self._told_of_changes:
            self._told_of_changes[None] = self._server.source.watch(partial(self._tell_of_change, None))

    async def _answer(self, request: RpcRequest) -> None:
        """A request that is cancelled is not answered."""
        try:
            if is_stateless(request.params):
                self._server.check_version(request.params)
                if request.method == "subscriptions/listen":
                    await self._subscribe(request)
                    return
            token = progress_token(request.params)
            tell = None if token is None else partial(self._tell_progress, token)
            answer = write_result(request.id, await self._server.answer(request, self._within, tell))
        except RpcFailure as failure:
            answer = write_failure(failure, request.id)
        except Exception:
            log.exception("a request for %s failed", request.method)
            answer = write_failure(RpcFailure(INTERNAL_ERROR, "an unforeseen error; the log has it"), request.id)
        await self._send(answer)

    async def _subscribe(self, request: RpcRequest) -> None:
        if len(self._told_of_changes) >= MOST_AT_ONCE:
            raise RpcFailure(INTERNAL_ERROR, f"{MOST_AT_ONCE} subscriptions run already")
        said, tools = self._server.acknowledgement(request.id, request.params)
        await self._send(said)
        if tools:
            self._told_of_changes[request.id] = self._server.source.watch(partial(self._tell_of_change, request.id))

    def _tell_of_change(self, number: RequestId | None) -> None:
        if number not in self._telling:  # else the client has not taken the last one yet, which says the same
            task = asyncio.get_running_loop().create_task(self._send(self._server.list_changed(number)))
            self._telling[number] = task
            task.add_done_callback(lambda _: self._telling.pop(number, None))

    async def _tell_progress(self, token: RequestId, count: int, text: str) -> None:
        said = {"progressToken": token, "progress": count, "message": text}
        await self._send(write_notification(PROGRESS, said))

    async def _refuse(self, failure: RpcFailure, number: RequestId | None = None) -> None:
        await self._send(write_failure(failure, number))

    async def _send(self, message: bytes) -> None:
        async with self._writing:
            await self._write(message + b"\n")
