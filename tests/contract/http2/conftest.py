"""The server of the side-by-side checks."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.http2.peers import ROOT, free_port
from tests.support.http2.servers import CERTIFICATES


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of granian (hyper, in Rust), a program of its own that speaks HTTP/2 and HTTP/1.1 over TLS."""
    directory = tmp_path_factory.mktemp("server")
    _, certificate, key = CERTIFICATES.write(directory)
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "auto", "--ssl-certificate", certificate, "--ssl-keyfile", key, "--no-ws"]
    command += ["--log-level", "warning", "tests.support.http2.side_by_side_app:app"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_until_listening(port, process)
            yield f"https://localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended before it listened"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")
