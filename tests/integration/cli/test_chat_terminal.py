"""`three-mode chat` in a terminal: streams, editing, history, Ctrl-C for an answer, and mode and latency shown."""

import asyncio
import os
import pty
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from three_mode.testing import Fault, ScriptedProvider, Turn

UP, CTRL_C, CTRL_D, ENTER = b"\x1b[A", b"\x03", b"\x04", b"\r"
STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
ROOT = Path(__file__).resolve().parents[3]


class Terminal:
    """What a person sees and types."""

    def __init__(self, fd: int, process: asyncio.subprocess.Process) -> None:
        self._fd, self.process = fd, process
        self.shown = ""
        self._new = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other side has gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.shown += STYLE.sub("", data.decode(errors="replace"))
        self._new.set()

    def type(self, what: bytes) -> None:
        os.write(self._fd, what)

    async def sees(self, text: str, times: int = 1) -> str:
        """All that was shown, once it has the text that often."""
        return await self._until(lambda: self.shown.count(text) >= times, text)

    async def presses(self, key: bytes, until: str) -> None:
        """Again and again, as people do: a key that comes while a prompt is just being put there may be lost."""
        pressing = asyncio.ensure_future(self._pressing(key))
        try:
            await self.sees(until)
        finally:
            pressing.cancel()

    async def _pressing(self, key: bytes) -> None:
        while True:
            self.type(key)
            await asyncio.sleep(0.5)

    async def enters(self, line: bytes) -> None:
        """Types a line, once the prompt is there."""
        await self.prompt()
        self.type(line + ENTER)

    async def prompt(self, prefilled: str = "") -> None:
        await self._until(lambda: self.shown.endswith(f"you> {prefilled}"), "the prompt")

    async def _until(self, condition: Callable[[], bool], what: str) -> str:
        try:
            async with asyncio.timeout(20):
                while not condition():
                    self._new.clear()
                    await self._new.wait()
        except TimeoutError:
            raise AssertionError(f"{what!r} was not shown in {self.shown!r}") from None
        return self.shown


@asynccontextmanager
async def chatting(home: Path, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        "chat",
        *arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        cwd=home,
        env={**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home), "TERM": "xterm", "PYTHONPATH": str(ROOT)},
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


def _own_terminal() -> None:
    """The terminal is the controlling one, so that Ctrl-C typed there is SIGINT, also where what is started in the
    background begins without it.
    """
    import fcntl
    import signal
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_a_conversation_in_a_terminal(tmp_path: Path) -> None:
    async with ScriptedProvider("http/1.1") as provider:
        address = ("m", "--base-url", provider.url + "/v1")
        async with chatting(tmp_path, *address) as terminal:
            await terminal.sees("talking to m; /help for commands")
            await terminal.enters(b"Helo\x7flo!")  # with a correction
            shown = await terminal.sees("tokens")
            assert "Hello world!" in shown
            assert re.search(r"HUMAN_AI · m · first token [\d.]+ ms · [\d.]+ ms · 12\+3 tokens", shown), shown
            assert provider.seen[0].json["messages"][-1]["content"] == "Hello!"

            provider.next(Turn(text=("and ",) * 500), fault=Fault(pause=0.02))
            await terminal.enters(b"Go on.")
            await terminal.sees("and and and")
            terminal.type(CTRL_C)
            await terminal.sees("stopped")
            await provider.until(lambda seen: len(seen.cancelled_requests) == 1)
            assert provider.seen[1].pieces_sent < 500

            await terminal.enters(b"/edit")
            await terminal.prompt("Go on.")
            terminal.type(b" Then stop." + ENTER)
            await terminal.sees("Hello world!", times=2)
            assert [said["content"] for said in provider.seen[2].json["messages"]] == [
                "Hello!",
                "Hello world!",
                "Go on. Then stop.",
            ]

            await terminal.sees("tokens", times=2)
            await terminal.prompt()
            await terminal.presses(CTRL_C, until="(Ctrl-D or /quit to leave)")
            await terminal.prompt()
            terminal.type(CTRL_D)
            assert await asyncio.wait_for(terminal.process.wait(), 10) == 0
        history = tmp_path / "three-mode" / "chat-history"
        assert history.stat().st_mode & 0o077 == 0, "what was typed is its owner's"

        async with chatting(tmp_path, *address) as terminal:  # the lines of the last time are there
            await terminal.prompt()
            terminal.type(UP)
            await terminal.sees("Go on. Then stop.")
            terminal.type(ENTER)
            await terminal.sees("Hello world!")
            await terminal.enters(b"/quit")
            assert await asyncio.wait_for(terminal.process.wait(), 10) == 0
