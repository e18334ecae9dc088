"""Servers of the peers, on loopback, for the duration of a benchmark."""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def free_port() -> int:
    """Port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(command: Sequence[str], port: int) -> subprocess.Popen[bytes] | None:
    """Starts a server and waits until it listens; None if it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return child
        except OSError:
            time.sleep(0.05)
    child.kill()
    child.wait()
    return None


def redis(port: int, folder: Path) -> subprocess.Popen[bytes] | None:
    """Starts a Redis server."""
    options = ["--save", "", "--appendonly", "no", "--dir", str(folder), "--bind", "127.0.0.1"]
    return start(["redis-server", "--port", str(port), *options], port)


def nats(port: int, folder: Path) -> subprocess.Popen[bytes] | None:
    """Starts a NATS server."""
    return start(["nats-server", "-a", "127.0.0.1", "-p", str(port)], port)


def nghttpd(port: int, folder: Path) -> subprocess.Popen[bytes] | None:
    """Starts nghttpd, an HTTP/2 server."""
    (folder / "item").write_bytes(b"x" * 100)
    return start(["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(folder), str(port)], port)
