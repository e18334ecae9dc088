"""Real browser without a window, and pages that report what they received."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.connection.streams import listening
from tests.support.processes import KilledGroup

# Nothing outside this machine is asked for anything, and nothing is kept.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Pages:
    """Site: each path is a page; a page posts its report to /report."""

    pages: dict[str, str] = field(default_factory=dict)
    port: int = 0
    reports: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        if method == "POST":
            length = next(
                int(line.partition(":")[2]) for line in head.splitlines() if line.lower().startswith("content-length:")
            )
            self.reports.put_nowait(json.loads(await reader.readexactly(length)))
        page = self.pages.get(path)
        status, body = ("404 Not Found", b"") if page is None and method == "GET" else ("200 OK", (page or "").encode())
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()


@asynccontextmanager
async def site() -> AsyncIterator[Pages]:
    """Starts without pages: pages often name the port that they are served on."""
    made = Pages()
    async with listening(made.answer) as port:
        made.port = port
        yield made


@asynccontextmanager
async def browsing(url: str, folder: Path) -> AsyncIterator[None]:
    """Shows a page in a browser with a new profile while the block runs."""
    program = chromium()
    assert program is not None
    with (folder / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
        )
        try:
            with KilledGroup(process.pid):  # it is many processes, and one group
                yield
        finally:
            await process.wait()
