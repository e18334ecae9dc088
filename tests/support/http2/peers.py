"""Real HTTP/2 servers in separate processes: nghttpd (nghttp2, C), granian (hyper, Rust), hypercorn (h2, Python)."""

import asyncio
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.http2.servers import CERTIFICATES

APP = "tests.support.http2.app:app"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Peer:
    """Running server, by its address."""

    port: int
    tls: bool = True

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        return CERTIFICATES.client_context()


def nghttpd() -> str | None:
    """Path of nghttpd. Debian installs it in /usr/sbin, which is not on every PATH."""
    return shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def running(name: str, directory: Path, *arguments: str) -> AsyncIterator[Peer]:
    """The server of that name, ready for connections; its process ends with the block."""
    port = free_port()
    _, certificate, key = CERTIFICATES.write(directory)
    if name == "nghttpd":
        program = nghttpd()
        assert program is not None
        command = [
            program,
            "--address=127.0.0.1",
            f"--htdocs={directory}",
            *arguments,
            str(port),
            key,
            certificate,
        ]
    elif name == "granian":
        command = [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--http",
            "auto",
            "--ssl-certificate",
            certificate,
            "--ssl-keyfile",
            key,
            "--no-ws",
            "--log-level",
            "warning",
            APP,
        ]
    else:
        command = [
            sys.executable,
            "-m",
            "hypercorn",
            "--bind",
            f"127.0.0.1:{port}",
            "--certfile",
            certificate,
            "--keyfile",
            key,
            "--log-level",
            "warning",
            APP,
        ]
    log = (directory / "log").open("wb")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=log, stderr=log)
    try:
        await _listening(port, process)
        yield Peer(port)
    except BaseException:
        print((directory / "log").read_text()[-2_000:])  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        log.close()
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None, "the server ended before it listened"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return
