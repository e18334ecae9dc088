"""Child process as a stream of lines: bounded, cancellable, and never left running.

    async with ChildLines(["claude", "-p"], stdin=b"...") as child:
        async for line in child: ...

    async with ChildLines(["server"], stdin=None) as child:  # its input stays open
        await child.write(b"...")

A child is stopped by the end of its input, then SIGTERM, then SIGKILL, each after `grace` seconds; so is its process
group. The last bytes of its standard error are kept for error messages.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOptions:
    """Options of a child process."""

    max_line: int = 16 * 1024 * 1024  #: bytes of the longest line of output; a longer one is ChildFailed
    grace: float = 1.0  #: seconds between one way of stopping the program and the next
    environment: Mapping[str, str] | None = None  #: all of its environment; None: that of this process
    directory: str | None = None  #: its working directory; None: that of this process


class ChildFailed(Exception):
    """The program did not start, or wrote a line beyond the limit.

    `status` is the exit status, `stderr` the last bytes of the standard error.
    """

    def __init__(self, message: str, *, status: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.stderr = stderr


class StderrTail:
    """Last bytes of a stream (default 4096), in bounded memory."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Adds data, and drops bytes beyond the last few thousand."""
        self._pieces.append(data[-self._most :])
        self._size += len(self._pieces[-1])
        while self._size - len(self._pieces[0]) >= self._most:
            self._size -= len(self._pieces.popleft())

    @property
    def text(self) -> str:
        """The bytes kept, as text."""
        return b"".join(self._pieces)[-self._most :].decode("utf-8", "replace").strip()


class ChildLines:
    """One run of a program. Lines are bytes without their ends; `status` is set after the last line."""

    def __init__(self, command: Sequence[str], stdin: bytes | None = b"", options: ChildOptions | None = None) -> None:
        """`stdin` is all of the program's input; None leaves it open, for `write`."""
        self._command = list(command)
        self._stdin = stdin
        self._options = options or ChildOptions()
        self._process: asyncio.subprocess.Process | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._tail = StderrTail()
        self._buffer = bytearray()
        self._scanned = 0
        self._ended = False

    @property
    def status(self) -> int | None:
        """The exit status; None while the program runs, and before it starts."""
        return self._process.returncode if self._process is not None else None

    @property
    def stderr(self) -> str:
        """Last bytes of the program's standard error, as text."""
        return self._tail.text

    async def start(self) -> None:
        """Starts the program; ChildFailed if it cannot start. `async with` does the same."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(self._options.environment) if self._options.environment is not None else None,
                cwd=self._options.directory,
                start_new_session=True,  # a process group, so that the program's children are stopped with it
            )
        except (OSError, ValueError) as error:
            raise ChildFailed(f"{self._command[0]} did not start: {error}") from None
        loop = asyncio.get_running_loop()
        self._helpers = [loop.create_task(self._collect_stderr())]
        if self._stdin is not None:
            self._helpers.append(loop.create_task(self._write_all(self._stdin)))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise ChildFailed("the program was not started")
        while True:
            end = self._buffer.find(b"\n", self._scanned)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._scanned = 0
                return line.removesuffix(b"\r")
            self._scanned = len(self._buffer)
            if len(self._buffer) > self._options.max_line:
                raise ChildFailed(
                    f"a line of {self._command[0]} is longer than {self._options.max_line} bytes",
                    stderr=self.stderr,
                )
            if self._ended:
                if not self._buffer:
                    raise StopAsyncIteration
                line, self._scanned = bytes(self._buffer), 0
                self._buffer.clear()
                return line
            data = await process.stdout.read(PIECE)
            if data:
                self._buffer += data
            else:
                self._ended = True

    async def write(self, data: bytes) -> None:
        """Writes to an input that is open, and waits until the program takes more; ChildFailed if it never will."""
        if not self.try_write(data, most=None):
            raise ChildFailed(f"{self._command[0]} takes no input any more", stderr=self.stderr)
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            await self._process.stdin.drain()
        except OSError as error:
            raise ChildFailed(f"{self._command[0]} takes no input any more: {error}", stderr=self.stderr) from None

    def try_write(self, data: bytes, most: int | None = PIECE) -> bool:
        """Writes to an input that is open, unless more than `most` bytes wait there already. It may be lost."""
        stdin = None if self._process is None else self._process.stdin
        if stdin is None or stdin.is_closing():
            return False
        if most is not None and stdin.transport.get_write_buffer_size() > most:
            return False
        stdin.write(data)
        return True

    async def wait(self) -> int:
        """Waits for the end of the program; returns its exit status. All of its standard error has been read then."""
        assert self._process is not None
        status = await self._process.wait()
        if self._helpers:
            await asyncio.wait(self._helpers, timeout=self._options.grace)
        return status

    def stop(self) -> None:
        """Begins to stop the program, without waiting. `aclose()` waits until it has ended."""
        if self._process is not None and self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop(self._process))

    def when_gone(self, call: Callable[[], None]) -> None:
        """Calls a function when the program has ended after `stop()`; at once if no program runs."""
        if self._stopping is None:
            call()
        else:
            self._stopping.add_done_callback(lambda _: call())

    async def aclose(self) -> None:
        """Stops the program, and waits until it and its process group have ended."""
        self.stop()
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _write_all(self, data: bytes) -> None:
        assert self._process is not None
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(data)
            await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except OSError:
            pass  # the program closed its input; its output will explain why

    async def _collect_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(PIECE):
            self._tail.add(data)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """Closes the input, then sends SIGTERM, then SIGKILL, until the program ends."""
        if process.stdin is not None and not process.stdin.is_closing():
            process.stdin.close()
        may_end = self._ended or self._stdin is None  # of itself, once its input ends
        for sign in (None, signal.SIGTERM, signal.SIGKILL) if may_end else (signal.SIGTERM, signal.SIGKILL):
            if process.returncode is not None:
                break
            if sign is not None:
                self._signal(process, sign)
            try:
                await asyncio.wait_for(process.wait(), self._options.grace)
            except TimeoutError:
                continue
        self._signal(process, signal.SIGKILL)  # children that the program left running
        for helper in self._helpers:
            helper.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()

    def _signal(self, process: asyncio.subprocess.Process, sign: signal.Signals) -> None:
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            pass
