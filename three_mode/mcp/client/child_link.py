"""Messages to an MCP server that is a child process, a line each."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from three_mode.mcp.client.link import Headers, Heard, no_mcp, too_late
from three_mode.mcp.client.options import McpOptions
from three_mode.mcp.eras import CANCELLED
from three_mode.mcp.errors import McpServerFailed
from three_mode.mcp.rpc import (
    METHOD_NOT_FOUND,
    RpcAnswer,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_failure,
    write_notification,
    write_request,
    write_result,
)
from transports.process import ChildFailed, ChildLines, ChildOptions

log = logging.getLogger("three_mode.mcp")
INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
GRACE = 1.0  # seconds between one way of stopping the server and the next
SHOWN = 200  # characters of a line that is no message, in an error


class ChildLink:
    """A link to a program that was started for it."""

    def __init__(self, command: Sequence[str], options: McpOptions, heard: Heard) -> None:
        self.name, self.version = command_name(command), ""
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        child = ChildOptions(
            max_line=options.most_bytes,
            grace=GRACE,
            environment={**environment, **options.environment},
            directory=options.directory,
        )
        self._child, self._heard = ChildLines(command, None, child), heard
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._failed: McpServerFailed | None = None
        self._odd = ""  # the first line that was no message

    @property
    def broken(self) -> bool:
        return self._failed is not None

    async def open(self) -> None:
        try:
            await self._child.start()
        except ChildFailed as error:
            raise McpServerFailed(str(error), server=self.name, hint="is the command right?") from None
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def request(
        self, method: str, params: dict[str, Any], within: float, headers: Headers = ()
    ) -> dict[str, Any]:
        number = next(self._numbers)
        try:
            async with asyncio.timeout(within):
                return await self._asked(number, method, params)
        except TimeoutError:
            why = f"it wrote what is no message: {self._odd!r}" if self._odd else ""
            raise too_late(self.name, method, within, why) from None

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        await self._write(write_notification(method, params))

    async def follow(self, params: dict[str, Any] | None, told: Callable[[], None], headers: Headers = ()) -> None:
        if params is not None:
            told()
            await self._asked(next(self._numbers), "subscriptions/listen", params)

    async def close(self) -> None:
        self._fail(McpServerFailed(f"{self.name} was closed", server=self.name))
        await self._child.aclose()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _asked(self, number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if self._failed is not None:
            raise self._again(self._failed)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._write(write_request(number, method, params))
            return await answer
        except asyncio.CancelledError:
            if method != "initialize":  # which may not be cancelled
                said = write_notification(CANCELLED, {"requestId": number, "reason": "nobody waits for it any more"})
                self._child.try_write(said + b"\n")
            raise
        finally:
            self._waiting.pop(number, None)
            answer.cancel()

    async def _write(self, message: bytes) -> None:
        async with self._writing:  # so that no more than one message waits for a server that reads nothing
            try:
                await self._child.write(message + b"\n")
            except ChildFailed:
                await asyncio.sleep(0)  # its end says more than that its input is closed
                failed = self._failed or McpServerFailed(f"{self.name} takes no messages any more", server=self.name)
                raise self._again(failed) from None

    async def _read(self) -> None:
        """Until the server ends, or breaks the protocol so that nothing of it can be read any more."""
        try:
            async for line in self._child:
                if line.strip():
                    self._take(line)
            status = await self._child.wait()
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            said = f"{self.name} ended {how}"
        except ChildFailed as error:
            said = str(error)
            self._child.stop()
        tail = self._child.stderr
        words = f"{said}; it wrote: {tail[-SHOWN * 2 :]}" if tail else said
        self._fail(McpServerFailed(words, server=self.name))

    def _take(self, line: bytes) -> None:
        try:
            message = read_message(line)
        except RpcFailure as failure:
            asked = self._waiting.get(failure.id) if isinstance(failure.id, int) else None
            if asked is not None and not asked.done():
                asked.set_exception(no_mcp(self.name, failure.message))
            elif not self._odd:
                self._odd = line[:SHOWN].decode("utf-8", "replace")
                log.warning("%s writes to its standard output what is no message: %r", self.name, self._odd)
            return
        if isinstance(message, RpcAnswer):
            self._settle(message)
        elif isinstance(message, RpcNotification):
            self._heard(message.method, message.params)
        elif isinstance(message, RpcRequest):
            self._child.try_write(reply_to(message) + b"\n")

    def _settle(self, answer: RpcAnswer) -> None:
        number = answer.id
        if number is None and answer.failure is not None and len(self._waiting) == 1:  # it could not read the only one
            number = next(iter(self._waiting))
        waiting = self._waiting.get(number) if isinstance(number, int) else None
        if waiting is None or waiting.done():
            return  # too late, or to nothing that was asked
        if answer.failure is not None:
            waiting.set_exception(answer.failure)
        else:
            waiting.set_result(answer.result or {})

    def _fail(self, error: McpServerFailed) -> None:
        if self._failed is None:
            self._failed = error
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._again(self._failed))

    @staticmethod
    def _again(error: McpServerFailed) -> McpServerFailed:
        """The error anew: one that is raised twice gathers the tracebacks of both."""
        return McpServerFailed(error.message, server=error.server, hint=error.hint)


def command_name(command: Sequence[str]) -> str:
    """A command as errors name it: the program and what it is to run. Later words may hold keys."""
    program = os.path.basename(command[0])
    what = next((word for word in command[1:] if not word.startswith("-")), "")
    return f"{program} {os.path.basename(what)}".strip()


def reply_to(request: RpcRequest) -> bytes:
    """The answer to a request of a server: this client has no model, no files and no person to offer it."""
    if request.method == "ping":
        return write_result(request.id, {})
    return write_failure(RpcFailure(METHOD_NOT_FOUND, "this client calls tools alone"), request.id)
