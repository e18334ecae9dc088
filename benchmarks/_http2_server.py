"""Real servers for the HTTP/2 benchmarks, each a separate process on loopback."""

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from three_mode.testing import Certificates

ROOT = Path(__file__).resolve().parent.parent
APP = "benchmarks._http2_app:app"


@dataclass(frozen=True)
class Server:
    """Server, by its URL and its certificates."""

    url: str
    certificates: Certificates | None = None

    def ssl_context(self) -> ssl.SSLContext:
        """New TLS context; each client sets its protocols on its own context."""
        assert self.certificates is not None
        return self.certificates.client_context()


def installed(*packages: str) -> bool:
    """Whether all packages are installed."""
    return all(find_spec(package) is not None for package in packages)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    """Waits until a process listens on a port; RuntimeError if it ends, or does not in time."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not come up")


@contextmanager
def granian(*, tls: bool, app: str = APP) -> Iterator[Server]:
    """Runs granian: hyper in Rust, with a Python application."""
    with _process(
        "granian", "--interface", "asgi", "--host", "127.0.0.1", "--http", "auto", "--no-ws", tls=tls, app=app
    ) as server:
        yield server


@contextmanager
def hypercorn() -> Iterator[Server]:
    """Runs hypercorn: pure Python, with a hundred streams a connection."""
    with _process("hypercorn", tls=True) as server:
        yield server


@contextmanager
def _process(name: str, *arguments: str, tls: bool, app: str = APP) -> Iterator[Server]:
    port = free_port()
    certificates = Certificates() if tls else None
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", name, *arguments, "--log-level", "error"]
        if certificates is not None:
            _, certificate, key = certificates.write(Path(folder))
            flags = ("--ssl-certificate", "--ssl-keyfile") if name == "granian" else ("--certfile", "--keyfile")
            command += [flags[0], certificate, flags[1], key]
        command += ["--port", str(port)] if name == "granian" else ["--bind", f"127.0.0.1:{port}"]
        process = subprocess.Popen([*command, app], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            yield Server(f"{'https' if tls else 'http'}://localhost:{port}", certificates)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
